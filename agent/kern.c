/* SPDX-License-Identifier: BSD-2-Clause */
#include "kern.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "user.h"

static struct btf *kernel_btf;
static bool btf_asked;

static const struct btf *load_btf(void)
{
	if (!btf_asked) {
		kernel_btf = btf__load_vmlinux_btf();
		btf_asked = true;
	}
	return kernel_btf;
}

void kern_release(void)
{
	btf__free(kernel_btf);
	kernel_btf = NULL;
	btf_asked = false;
	kern_forget_symbols();
}

/* What names and pointers lead to. */
static const struct btf_type *behind(int id)
{
	const struct btf_type *type = id < 0 ? NULL : btf__type_by_id(kernel_btf, id);

	while (type && (btf_is_typedef(type) || btf_is_ptr(type) || btf_is_func(type) || btf_is_mod(type)))
		type = btf__type_by_id(kernel_btf, type->type);
	return type;
}

/* The parameters of a function or of a pointer to one: their number, or -ENOENT. */
static int params_of(int id, const struct btf_param **ret_params)
{
	const struct btf_type *type = behind(id);

	if (!type || !btf_is_func_proto(type))
		return -ENOENT;
	*ret_params = btf_params(type);
	return btf_vlen(type);
}

static int find(const char *name, int kind)
{
	return load_btf() ? btf__find_by_name_kind(kernel_btf, name, kind) : -ENOENT;
}

bool kern_has_function(const char *function)
{
	return find(function, BTF_KIND_FUNC) >= 0;
}

static int tracepoint_params(const char *tracepoint, const struct btf_param **ret_params)
{
	char name[128];

	snprintf(name, sizeof(name), "btf_trace_%s", tracepoint);
	return params_of(find(name, BTF_KIND_TYPEDEF), ret_params);
}

bool kern_has_tracepoint(const char *tracepoint)
{
	const struct btf_param *params;

	return tracepoint_params(tracepoint, &params) > 0;
}

bool kern_preempts_tracepoints(void)
{
	/* That SRCU was there up to 6.12 as well, for tracepoints in idle tasks; struct tracepoint_ext came as it went. */
	return find("tracepoint_srcu_srcu_data", BTF_KIND_VAR) >= 0 && find("tracepoint_ext", BTF_KIND_STRUCT) >= 0;
}

bool kern_tracepoint_takes(const char *tracepoint, int parameter, const char *type)
{
	const struct btf_param *params = NULL;
	int n = tracepoint_params(tracepoint, &params);	/* the first one is the tracepoint's own */
	const struct btf_type *taken = parameter + 1 < n ? behind(params[parameter + 1].type) : NULL;

	return taken && btf_is_struct(taken) && !strcmp(btf__name_by_offset(kernel_btf, taken->name_off), type);
}

void kern_enum(const char *name, void (*take)(void *context, const char *name, uint32_t value), void *context)
{
	int id = find(name, BTF_KIND_ENUM);
	const struct btf_type *type = id < 0 ? NULL : btf__type_by_id(kernel_btf, id);

	for (unsigned i = 0; type && i < btf_vlen(type); i++)
		take(context, btf__name_by_offset(kernel_btf, btf_enum(type)[i].name_off), btf_enum(type)[i].val);
}

/* errno, negative; one of the kernel's own errors has no name outside of it. */
static int named_error(void)
{
	const int enotsupp = 524;

	return errno == enotsupp ? -EOPNOTSUPP : -errno;
}

/* Loads `return 0`, or `insns`, as a program of the type and returns its descriptor or a negative errno. */
static int try_load(enum bpf_prog_type type, enum bpf_attach_type attach, int btf_id, const struct bpf_insn *insns, size_t n)
{
	static const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach, .attach_btf_id = btf_id);
	int fd = bpf_prog_load(type, "netline_try", "GPL", insns ?: nothing, insns ? n : 2, &opts);

	return fd < 0 ? named_error() : fd;
}

/* Whether the kernel loads such a program: 0 or a negative errno. */
static int try_program(enum bpf_prog_type type, enum bpf_attach_type attach, int btf_id, const struct bpf_insn *insns, size_t n)
{
	int fd = try_load(type, attach, btf_id, insns, n);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* Before 6.6 (473e3150e30a) no program on x86 could be attached to a function of more than six parameters. */
#define FEW_PARAMS 6

int kern_try_fentry(const char *function)
{
	static int answers[2] = { 1, 1 };	/* for few parameters, for more */
	const struct btf_param *params;
	int id = find(function, BTF_KIND_FUNC), *answer, fd, link;

	if (id < 0)
		return -ENOENT;
	answer = &answers[params_of(id, &params) > FEW_PARAMS];
	if (*answer <= 0)
		return *answer;
	fd = try_load(BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, id, NULL, 0);
	if (fd < 0)
		return *answer = fd;
	link = bpf_raw_tracepoint_open(NULL, fd);
	*answer = link < 0 ? named_error() : 0;
	if (link >= 0)
		close(link);
	close(fd);
	return *answer;
}

int kern_try_netfilter(void)
{
	/* `return NF_ACCEPT`: the verifier takes verdicts only, and `return 0` would drop packets. */
	static const struct bpf_insn accept[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	static int answer = 1;

	if (answer > 0)
		answer = try_program(KERN_PROG_TYPE_NETFILTER, KERN_ATTACH_NETFILTER, 0, accept, 2);
	return answer;
}

int kern_try_kprobe(void)
{
	/* An event that counts nothing, on the CPU where kprobes are attached: some distributions refuse all of them, CAP_PERFMON or not. */
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_DUMMY, .size = sizeof(attr) };
	int fd;

	if (access("/sys/bus/event_source/devices/kprobe/type", R_OK))
		return -EOPNOTSUPP;
	fd = syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

bool kern_has_socket_cookie(void)
{
	/* With the socket of tp_btf/inet_sock_set_state: r1 = *(u64 *)(r1 + 0); call; exit */
	static const struct bpf_insn insns[] = {
		{ .code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_1 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_socket_cookie },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int id = find("btf_trace_inet_sock_set_state", BTF_KIND_TYPEDEF);

	return id >= 0 && !try_program(BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, id, insns, 4);
}

bool kern_iterates_maps(void)
{
	int id = find("bpf_iter_bpf_map_elem", BTF_KIND_FUNC);

	return id >= 0 && !try_program(BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, id, NULL, 0);
}

bool kern_limits_maps(void)
{
	struct rlimit limit;

	/* a helper that came with the other accounting */
	return !getrlimit(RLIMIT_MEMLOCK, &limit) && limit.rlim_cur != RLIM_INFINITY &&
	       libbpf_probe_bpf_helper(BPF_PROG_TYPE_SOCKET_FILTER, BPF_FUNC_ktime_get_coarse_ns, NULL) == 0;
}

bool kern_allocates_in_programs(void)
{
	return find("bpf_mem_alloc", BTF_KIND_STRUCT) >= 0;
}

uint32_t kern_own_netns(void)
{
	struct stat st;

	return stat("/proc/self/ns/net", &st) ? 0 : st.st_ino;
}

/* The capabilities without which no program can be loaded, or NULL. CAP_SYS_ADMIN stands for both. */
static const char *lacking(void)
{
	bool bpf = user_has(CAP_BPF), perfmon = user_has(CAP_PERFMON);

	if (user_has(CAP_SYS_ADMIN) || (bpf && perfmon))
		return NULL;
	return bpf ? "CAP_PERFMON" : perfmon ? "CAP_BPF" : "CAP_BPF and CAP_PERFMON";
}

/* The kernel's answer to the smallest ring buffer: 0 or a negative errno. */
static int try_ring(void)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "netline_try", 0, 0, getpagesize(), NULL);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* Whether lockdown keeps BPF programs from reading kernel memory (5.4, 9d1f8be5cf42). False where securityfs is not mounted. */
static bool is_locked_down(void)
{
	FILE *file = fopen("/sys/kernel/security/lockdown", "r");
	char line[128] = "";
	bool locked = file && fgets(line, sizeof(line), file) && strstr(line, "[confidentiality]");

	if (file)
		fclose(file);
	return locked;
}

bool kern_usable(char *ret_why, size_t size)
{
	const char *capabilities = lacking();
	int err = capabilities ? 0 : try_ring();

	if (capabilities)
		snprintf(ret_why, size, "no permission to load BPF programs: run it as root (sudo netline), or give it %s", capabilities);
	else if (err == -EPERM)
		snprintf(ret_why, size, "the kernel refuses BPF here in spite of the capabilities, by a user namespace or a seccomp filter: "
			 "run it outside, or in a privileged container");
	else if (err == -EINVAL)
		snprintf(ret_why, size, "the kernel has no BPF ring buffer: it needs Linux 5.8 or newer");
	else if (err)
		snprintf(ret_why, size, "the kernel gives no BPF ring buffer: %s", strerror(-err));
	else if (is_locked_down())
		snprintf(ret_why, size, "the kernel is locked down (lockdown=confidentiality): BPF programs may not read its memory; lockdown=integrity allows it");
	else if (!load_btf())
		snprintf(ret_why, size, "the kernel has no BTF (/sys/kernel/btf/vmlinux): it needs CONFIG_DEBUG_INFO_BTF");
	else
		return true;
	return false;
}
