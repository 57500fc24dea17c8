/* SPDX-License-Identifier: BSD-2-Clause */
/* The flags of a TCP segment as text. */
#ifndef NETLINE_TCP_FLAGS_H
#define NETLINE_TCP_FLAGS_H

#ifndef __bpf__
/* Names of all sets of flags by their byte in the header, the highest bit first: with_*(t) are those that go on from the text t. */
#define WITH_FIN(t) t, t "|FIN"
#define WITH_SYN(t) WITH_FIN(t), WITH_FIN(t "|SYN")
#define WITH_RST(t) WITH_SYN(t), WITH_SYN(t "|RST")
#define WITH_PSH(t) WITH_RST(t), WITH_RST(t "|PSH")
#define WITH_ACK(t) WITH_PSH(t), WITH_PSH(t "|ACK")
#define WITH_URG(t) WITH_ACK(t), WITH_ACK(t "|URG")
#define WITH_ECE(t) WITH_URG(t), WITH_URG(t "|ECE")
static const char *const tcp_flag_names[] = {
	NULL, "FIN", WITH_FIN("SYN"), WITH_SYN("RST"), WITH_RST("PSH"), WITH_PSH("ACK"), WITH_ACK("URG"), WITH_URG("ECE"), WITH_ECE("CWR"),
};
#endif
#endif
