# SPDX-License-Identifier: BSD-2-Clause
# `make help` lists the targets. V=1 shows commands, WERROR=1 makes warnings errors, STATIC=1 links one static binary,
# SANITIZE=1 adds ASan and UBSan (a build of its own). CC=aarch64-linux-gnu-gcc builds for another machine, with its libraries and
# headers below SYSROOT; give it a BUILD of its own.

BUILD ?= build$(if $(STATIC),/static)$(if $(SANITIZE),/sanitize)
PREFIX ?= /usr/local
ZSH_COMPLETIONS ?= $(PREFIX)/share/zsh/site-functions
PYTHON ?= /usr/bin/python3
CLANG ?= clang
STRIP_BPF ?= $(shell command -v llvm-strip || ls /usr/bin/llvm-strip-* /usr/lib/llvm-*/bin/llvm-strip 2>/dev/null | tail -n 1)
# Asked when they are used: `make deps run` installs the compiler first.
MACHINE = $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null)))
ARCH = $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(MACHINE)))
MULTIARCH = $(shell $(CC) -print-multiarch 2>/dev/null)

VERSION = $(shell sed -n 's/^.define NETLINE_VERSION "\(.*\)"/\1/p' agent/config.h)
DEB = build/deb/netline-$(VERSION)

comma := ,
WARNINGS := -Wall -Wextra $(if $(WERROR),-Werror)
SANITIZERS := $(if $(SANITIZE),-fsanitize=address$(comma)undefined -fno-sanitize-recover=all)
CFLAGS ?= -O2 -g
NETLINE_CFLAGS = $(if $(SYSROOT),--sysroot=$(SYSROOT)) -std=gnu11 -D_GNU_SOURCE $(WARNINGS) -MMD -MP -MF $@.d -MT $@ -DBPF_DIR='"$(BUILD)/bpf"' $(SANITIZERS)
BPF_CFLAGS = -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -ffile-prefix-map=$(CURDIR)=. $(WARNINGS) -Wno-unused-parameter -MMD -MP -MF $@.d -MT $@ \
	$(if $(MULTIARCH),-idirafter $(SYSROOT)/usr/include/$(MULTIARCH))
# Debian 12 calls its static libuv libuv_a; newer static libelf needs zstd.
STATIC_LIBS = -lbpf $(if $(wildcard $(SYSROOT)/usr/lib/*/libuv_a.a),-luv_a,-luv) -ljansson -lelf -lz -lmd \
	$(if $(wildcard $(SYSROOT)/usr/lib/*/libzstd.a $(SYSROOT)/usr/lib64/libzstd.a),-lzstd) -lpthread -ldl
LIBS = $(if $(STATIC),$(STATIC_LIBS),-lbpf -luv -ljansson -lelf -lz -lmd)

AGENT := $(filter-out agent/main.c,$(wildcard agent/*.c agent/output/*.c agent/probes/*.c))
AGENT_OBJ := $(AGENT:%.c=$(BUILD)/%.o)
BPF_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard bpf/*.bpf.c))
UNIT := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
TOOLS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/e2e/*.c tests/vm/*.c))
FUZZ := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/fuzz/*.c))
BENCH := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/bench/*.c))
GENERATE := $(BUILD)/contrib/generate/generate
GENERATE_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard contrib/generate/*.c))
PAGES := contrib/man/netline.1 contrib/man/netline-records.5 contrib/completion/netline.bash contrib/completion/_netline contrib/completion/netline.fish

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' '$(1)' '$@';)

ifneq ($(filter deps,$(MAKECMDGOALS)),)
.NOTPARALLEL:	# first deps, then the rest
endif

.PHONY: all help deps run check check-kernels tools unit fuzz-targets generate fuzz benchmarks bench schema report install deb clean
.DELETE_ON_ERROR:

all: $(BUILD)/netline

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make                   build build/netline; needs neither root nor BTF
## make deps              install what building and testing need, make deps run only the first (Debian, Ubuntu, Fedora; as root)
## make run [ARGS=...]    build and stream records to stdout until Ctrl-C (as root)
## make check [SUITES=...] all tests, or some: files unit sanitize valgrind fuzz e2e report static package (as root)
## make check-kernels     the probes' tests on other kernels, in virtual machines, by every way to attach (as root, after
##                        make deps check-kernels); KERNELS="5.10 6.1 6.12 6.18 7 arm64" chooses, KERNELS=few takes three
## make fuzz [SECONDS=600] feed the parsers with what libFuzzer makes up, each for so long; make check does it for 25 s
## make bench             measure, against other tools in the same run (as root)
## make schema            write schemas, field reference and Elasticsearch templates from the rows; man pages and shell completion
## make STATIC=1          build/static/netline: one binary that needs nothing but the kernel
## make report            build contrib/report/netline-report.html from its sources
## make install           PREFIX=/usr/local DESTDIR=
## make deb               build the Debian package below build/deb/
## make clean             remove build/

# Static: libuv brings getpwuid_r(), which is never called; the linker warns of it all the same.
$(BUILD)/netline: $(BUILD)/agent/main.o $(AGENT_OBJ)
	$(call say,LINK)$(CC) $(if $(SYSROOT),--sysroot=$(SYSROOT)) $(CFLAGS) $(SANITIZERS) $(LDFLAGS) $(if $(STATIC),-static -Wl$(comma)--no-warnings) -o $@ $^ $(LIBS)

$(AGENT_OBJ) $(BUILD)/agent/main.o $(GENERATE_OBJ): $(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(CPPFLAGS) $(CFLAGS) $(NETLINE_CFLAGS) -c -o $@ $<

$(GENERATE): $(GENERATE_OBJ) $(AGENT_OBJ)
	$(call say,LINK)$(CC) $(CFLAGS) $(SANITIZERS) $(LDFLAGS) -o $@ $^ $(LIBS)

# A probe carries its BPF object.
$(patsubst bpf/%.bpf.c,$(BUILD)/agent/probes/%.o,$(wildcard bpf/*.bpf.c)): $(BUILD)/agent/probes/%.o: $(BUILD)/bpf/%.bpf.o

$(BUILD)/bpf/%.o: bpf/%.c Makefile
	@mkdir -p $(@D)
	$(call say,BPF)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<
	$(if $(STRIP_BPF),$(Q)$(STRIP_BPF) -g $@)

$(TOOLS) $(filter-out %/encode,$(BENCH)): $(BUILD)/tests/%: tests/%.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(CPPFLAGS) $(CFLAGS) $(NETLINE_CFLAGS) $(LDFLAGS) -o $@ $< -lpthread

$(UNIT) $(filter %/encode,$(BENCH)): $(BUILD)/tests/%: tests/%.c $(AGENT_OBJ) Makefile
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(CPPFLAGS) $(CFLAGS) $(NETLINE_CFLAGS) $(LDFLAGS) -o $@ $< $(AGENT_OBJ) -lcmocka $(LIBS)

# Whole sources once more, with clang's instruments.
$(FUZZ): $(BUILD)/tests/%: tests/%.c $(AGENT) $(BPF_OBJ) Makefile
	@mkdir -p $(@D)
	$(call say,FUZZ)$(CLANG) -O1 -g $(filter-out -MMD -MP -MF -MT $@.d $@,$(NETLINE_CFLAGS)) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o $@ $< $(AGENT) $(LIBS)

# To be preloaded
$(BUILD)/tests/e2e/refusing: NETLINE_CFLAGS += -shared -fPIC

tools: $(TOOLS)
unit: $(UNIT)
fuzz-targets: $(FUZZ)
generate: $(GENERATE)
benchmarks: $(BENCH)

-include $(patsubst %,%.d,$(AGENT_OBJ) $(BPF_OBJ) $(UNIT) $(TOOLS) $(BENCH) $(GENERATE_OBJ) $(BUILD)/agent/main.o)

deps:
	@contrib/packaging/deps $(if $(filter-out deps run,$(MAKECMDGOALS)),$(filter check-kernels,$(MAKECMDGOALS)),$(filter run,$(MAKECMDGOALS)))

run: $(BUILD)/netline
	$(BUILD)/netline $(ARGS)

check:
	@$(MAKE) --no-print-directory WERROR=1 all tools unit fuzz-targets generate benchmarks
	@$(MAKE) --no-print-directory WERROR=1 SANITIZE=1 all unit
	@$(MAKE) --no-print-directory WERROR=1 STATIC=1 all
	@$(PYTHON) tests/run $(SUITES)

check-kernels:
	@$(MAKE) --no-print-directory WERROR=1 tools
	@$(MAKE) --no-print-directory WERROR=1 STATIC=1 all
	@$(PYTHON) tests/vm/run $(KERNELS)

SECONDS ?= 600
fuzz: $(FUZZ)
	@FUZZ_SECONDS=$(SECONDS) $(PYTHON) tests/run fuzz

bench: $(BUILD)/netline $(BENCH) $(BUILD)/tests/e2e/idle
	@$(PYTHON) tests/bench/run $(ARGS)

schema: $(BUILD)/netline $(GENERATE)
	$(BUILD)/netline schema --write schema
	for page in $(PAGES); do $(GENERATE) $$page.in > $$page || exit; done

report:
	contrib/report/build

install: $(BUILD)/netline
	install -D -m 0755 $(BUILD)/netline $(DESTDIR)$(PREFIX)/bin/netline
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/netline/jq contrib/jq/*.jq
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/netline/schema schema/*.json schema/fields.md
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/netline/schema/elasticsearch schema/elasticsearch/*.json
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/netline README.md LICENSE contrib/report/netline-report.html
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/netline/guides contrib/guides/*.md
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man1 contrib/man/netline.1
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man5 contrib/man/netline-records.5
	install -D -m 0644 contrib/completion/netline.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/netline
	install -D -m 0644 -t $(DESTDIR)$(ZSH_COMPLETIONS) contrib/completion/_netline
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d contrib/completion/netline.fish

# In a copy of the tree, since debian/ has to stand at its top. dh has flags of its own for make.
deb:
	@command -v dpkg-buildpackage > /dev/null || { echo "make deb: there is no dpkg-buildpackage: sudo make deps, on Debian or Ubuntu" >&2; exit 1; }
	@rm -rf build/deb
	@mkdir -p $(DEB)
	@tar -c --exclude=./build --exclude=./.git . | tar -x -C $(DEB)
	@cp -r contrib/packaging/debian $(DEB)/
	@sed -i 's/@VERSION@/$(VERSION)/' $(DEB)/debian/changelog
	@cd $(DEB) && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL dpkg-buildpackage -b -us -uc
	@ls build/deb/netline_*.deb

clean:
	rm -rf build
