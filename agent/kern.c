/* SPDX-License-Identifier: BSD-2-Clause */
#include "kern.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

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
}

static int params_of(const struct btf_type *type)
{
	while (type && (btf_is_typedef(type) || btf_is_ptr(type) || btf_is_func(type)))
		type = btf__type_by_id(kernel_btf, type->type);
	return type && btf_is_func_proto(type) ? btf_vlen(type) : -ENOENT;
}

static int find(const char *name, int kind)
{
	return load_btf() ? btf__find_by_name_kind(kernel_btf, name, kind) : -ENOENT;
}

int kern_function_params(const char *function)
{
	int id = find(function, BTF_KIND_FUNC);

	return id < 0 ? -ENOENT : params_of(btf__type_by_id(kernel_btf, id));
}

int kern_tracepoint_params(const char *tracepoint)
{
	char name[128];
	int id, n;

	snprintf(name, sizeof(name), "btf_trace_%s", tracepoint);
	id = find(name, BTF_KIND_TYPEDEF);
	if (id < 0)
		return -ENOENT;
	n = params_of(btf__type_by_id(kernel_btf, id));
	return n < 0 ? n : n - 1;	/* the first one is the tracepoint's own */
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

	return fd < 0 ? -errno : fd;
}

int kern_try_fentry(void)
{
	static int answer = 1;
	int id, fd, link;

	if (answer <= 0)
		return answer;
	id = find("inet_csk_accept", BTF_KIND_FUNC);
	if (id < 0)
		return answer = -ENOENT;
	fd = try_load(BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT, id, NULL, 0);
	if (fd < 0)
		return answer = fd;
	link = bpf_raw_tracepoint_open(NULL, fd);
	answer = link < 0 ? -errno : 0;
	if (link >= 0)
		close(link);
	close(fd);
	return answer;
}

int kern_try_kprobe(void)
{
	if (!access("/sys/bus/event_source/devices/kprobe/type", R_OK))
		return 0;
	return -EOPNOTSUPP;
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
	int fd = id < 0 ? id : try_load(BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, id, insns, 4);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

uint32_t kern_own_netns(void)
{
	struct stat st;

	return stat("/proc/self/ns/net", &st) ? 0 : st.st_ino;
}

static bool permitted(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	uint64_t have, bpf = 1ull << CAP_BPF, perfmon = 1ull << CAP_PERFMON, admin = 1ull << CAP_SYS_ADMIN;

	if (syscall(SYS_capget, &header, data))
		return true;	/* then the kernel's own refusal will tell */
	have = (uint64_t)data[1].effective << 32 | data[0].effective;
	return have & admin || (have & bpf && have & perfmon);
}

bool kern_usable(char *ret_why, size_t size)
{
	if (!permitted())
		snprintf(ret_why, size, "no permission to load BPF programs: run it as root (sudo netline), or give it CAP_BPF and CAP_PERFMON");
	else if (!load_btf())
		snprintf(ret_why, size, "the kernel has no BTF (/sys/kernel/btf/vmlinux): it needs CONFIG_DEBUG_INFO_BTF");
	else
		return true;
	return false;
}
