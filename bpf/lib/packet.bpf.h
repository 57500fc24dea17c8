/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A TCP packet, read from its skb wherever on its way that is: by the offsets of the headers, because skb->len and
 * skb->data move on with each layer. What the segment is too short to hold, or is not in the linear part, is 0 or NO_NUMBER.
 */
#ifndef NETLINE_PACKET_BPF_H
#define NETLINE_PACKET_BPF_H

#include "../kernel.h"
#include "../../schema/tcp_inerrs.h"

#define HEADER_UNSET 0xffff
#define IPV6_EXTENSIONS 6	/* as many are followed */
#define TCP_HEADER 20
#define FLAG_FIN 1
#define FLAG_SYN 2
#define FLAG_RST 4
#define FLAG_ACK 16

struct packet {
	nl_ip source_ip;
	nl_ip destination_ip;
	__u64 seq;
	__u64 ack;
	__u32 bytes;		/* of the IP packet; 0: unknown */
	__u32 segment_bytes;	/* TCP header and payload */
	__u32 readable;		/* of these, those that are in the linear part */
	__u16 source_port;
	__u16 destination_port;
	__u8 family;
	__u8 data_offset;	/* bytes; 0: unknown, or 0 */
	__u8 flags;
};

struct ipv4_header { __u8 version_length, tos; __u16 total; __u32 fragment; __u8 ttl, protocol; __u16 check; __u32 source, destination; };
struct ipv6_header { __u32 flow; __u16 payload; __u8 next, hops; nl_ip source, destination; };
struct tcp_header { __u16 source, destination; __u32 seq, ack; __u8 offset, flags; __u16 window, check, urgent; };

/* Of sequence numbers, which wrap. */
static __always_inline bool before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

/* The protocol of the transport header, behind extension headers. */
static __always_inline __u8 ipv6_transport(const unsigned char *at, __u8 next, const unsigned char *end, __u8 known)
{
	at += sizeof(struct ipv6_header);
	for (int i = 0; i < IPV6_EXTENSIONS && at < end; i++) {
		__u8 extension[2] = {};

		read_bytes(extension, sizeof(extension), at, known);
		at += next == 44 ? 8 : next == 51 ? (extension[1] + 2) * 4 : (extension[1] + 1) * 8;	/* fragment, AH, others */
		next = extension[0];
	}
	return next;
}

/* These read TCP's header as well, which mostly follows at once. */
static __always_inline bool read_ipv4(struct packet *p, struct tcp_header *ret_tcp, const unsigned char *at, const unsigned char *transport, __u8 known)
{
	struct { struct ipv4_header ip; struct tcp_header tcp; } headers = {};
	const struct ipv4_header *ip = &headers.ip;
	__u32 *source = (__u32 *)p->source_ip.bytes, *destination = (__u32 *)p->destination_ip.bytes, length;

	read_bytes(&headers, sizeof(headers), at, known);
	length = (ip->version_length & 15) * 4;
	if (ip->version_length >> 4 != 4 || ip->protocol != IPPROTO_TCP || at + length != transport)
		return false;
	*ret_tcp = headers.tcp;
	if (length != sizeof(*ip))
		read_bytes(ret_tcp, sizeof(*ret_tcp), transport, known);
	p->family = FAMILY_IPV4;
	p->bytes = bpf_ntohs(ip->total);
	p->segment_bytes = p->bytes > length ? p->bytes - length : 0;
	source[0] = source[1] = destination[0] = destination[1] = 0;
	source[2] = destination[2] = bpf_htonl(0xffff);
	source[3] = ip->source;
	destination[3] = ip->destination;
	return true;
}

static __always_inline bool read_ipv6(struct packet *p, struct tcp_header *ret_tcp, const unsigned char *at, const unsigned char *transport, __u8 known)
{
	struct { struct ipv6_header ip; struct tcp_header tcp; } headers = {};
	const struct ipv6_header *ip = &headers.ip;
	__u32 extensions = transport - at - sizeof(*ip), payload;

	read_bytes(&headers, sizeof(headers), at, known);
	if ((*(const __u8 *)&ip->flow) >> 4 != 6 || ipv6_transport(at, ip->next, transport, known) != IPPROTO_TCP)
		return false;
	*ret_tcp = headers.tcp;
	if (extensions)
		read_bytes(ret_tcp, sizeof(*ret_tcp), transport, known);
	payload = bpf_ntohs(ip->payload);
	p->family = FAMILY_IPV6;
	p->bytes = payload ? payload + sizeof(*ip) : 0;	/* none: a jumbogram */
	p->segment_bytes = payload > extensions ? payload - extensions : 0;
	p->source_ip = ip->source;
	p->destination_ip = ip->destination;
	return true;
}

/* What is beyond the segment may be read, but it is not told. */
static __always_inline void fill_segment(struct packet *p, const struct tcp_header *tcp)
{
	__u32 n = p->readable;

	p->source_port = n >= 2 ? bpf_ntohs(tcp->source) : 0;
	p->destination_port = n >= 4 ? bpf_ntohs(tcp->destination) : 0;
	p->seq = n >= 8 ? bpf_ntohl(tcp->seq) : NO_NUMBER;
	p->ack = n >= 12 ? bpf_ntohl(tcp->ack) : NO_NUMBER;
	p->data_offset = n >= 13 ? (tcp->offset >> 4) * 4 : 0;
	p->flags = n >= 14 ? tcp->flags : 0;
}

/*
 * False: it is no TCP packet of that protocol with its IP header still before it. `length`: of TCP's header and payload, where the IP header
 * does not say it yet; 0: where it does.
 */
static __always_inline bool packet_read_as(const struct sk_buff *skb, __u8 known, __u16 protocol, __u32 length, struct packet *ret_packet)
{
	__u16 network = OF(skb, network_header), transport = OF(skb, transport_header);
	const unsigned char *head = OF(skb, head);
	__u32 linear = OF(skb, tail);	/* the end of the linear part, from the head (CONFIG_64BIT) */
	struct packet *p = ret_packet;
	struct tcp_header tcp = {};

	if (transport == HEADER_UNSET || transport <= network || linear < transport)
		return false;
	if (protocol == ETH_P_IP ? !read_ipv4(p, &tcp, head + network, head + transport, known) :
	    protocol != ETH_P_IPV6 || !read_ipv6(p, &tcp, head + network, head + transport, known))
		return false;
	linear -= transport;
	length = length ?: p->segment_bytes;
	p->readable = length && length < linear ? length : linear;
	fill_segment(p, &tcp);
	return true;
}

/* Of a packet that is known to be TCP's: what stands in that header. */
static __always_inline bool packet_read_tcp(const struct sk_buff *skb, __u8 known, struct packet *ret_packet)
{
	__u16 transport = OF(skb, transport_header);
	__u32 linear = OF(skb, tail);
	struct tcp_header tcp = {};

	if (transport == HEADER_UNSET || linear < transport)
		return false;
	read_bytes(&tcp, sizeof(tcp), OF(skb, head) + transport, known);
	ret_packet->readable = linear - transport;
	fill_segment(ret_packet, &tcp);
	return true;
}

static __always_inline bool packet_read(const struct sk_buff *skb, __u8 known, struct packet *ret_packet)
{
	return packet_read_as(skb, known, bpf_ntohs(OF(skb, protocol)), 0, ret_packet);
}
#endif
