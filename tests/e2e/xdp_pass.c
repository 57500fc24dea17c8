/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * xdp_pass NIC: attaches an XDP program that lets everything pass, says so with a line, and detaches at the end of its stdin.
 * Up to 5.12 that is what makes a veth pass its packets through GRO.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <signal.h>
#include <unistd.h>

static int bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

int main(int argc, char **argv)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	union bpf_attr load = { 0 }, link = { 0 };
	char line[16];

	if (argc != 2)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	load.prog_type = BPF_PROG_TYPE_XDP;
	load.insns = (uintptr_t)insns;
	load.insn_cnt = 2;
	load.license = (uintptr_t)"GPL";
	link.link_create.prog_fd = bpf(BPF_PROG_LOAD, &load);
	link.link_create.target_ifindex = if_nametoindex(argv[1]);
	link.link_create.attach_type = BPF_XDP;
	if ((int)link.link_create.prog_fd < 0 || bpf(BPF_LINK_CREATE, &link) < 0) {
		fprintf(stderr, "xdp_pass %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	puts("attached");
	fflush(stdout);
	while (read(0, line, sizeof(line)) > 0)
		;
	return 0;
}
