/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one table from the kernel's drop reasons to ours. What each means to the kernel is said in its include/net/dropreason-core.h
 * (6.2; include/linux/skbuff.h before); where it is given, in net/ipv4/tcp_input.c, tcp_ipv4.c, tcp_minisocks.c and
 * net/ipv6/tcp_ipv6.c. Read in 5.19 to 7.x; a name that a kernel does not have does no harm.
 *
 * Not here, and so no error: NOT_SPECIFIED in TIME_WAIT (a FIN again: a clean close), QUEUE_PURGE (own packets that were not sent), and what
 * the user's own rules refuse (NETFILTER_DROP, SOCKET_FILTER, XFRM_POLICY).
 */
#include "inerr_reasons.h"

#include <string.h>

enum when { ALWAYS, DUPLICATES };

struct mapping {
	const char *name;
	__u8 reason, reset_reason;	/* reset_reason: of a segment with RST, where it is another */
	__u8 check;
	enum when when;			/* DUPLICATES: `reason` only with --duplicates; a RST always */
};

static const struct mapping mappings[] = {
	{ .name = "TCP_CSUM", .reason = INERR_BAD_CHECKSUM },
	{ .name = "NOT_SPECIFIED", .reason = INERR_HEADER_TOO_SHORT, .check = CHECK_HEADER },	/* tcp_v4_rcv(): pskb_may_pull() has failed */
	{ .name = "PKT_TOO_SMALL", .reason = INERR_BAD_DATA_OFFSET, .check = CHECK_OFFSET },	/* tcp_v4_rcv(): doff below 5; others give it, too */
	{ .name = "TCP_FLAGS", .reason = INERR_BAD_FLAGS },

	{ .name = "TCP_INVALID_SEQUENCE", .reason = INERR_OUT_OF_WINDOW, .reset_reason = INERR_RST_OUT_OF_WINDOW, .check = CHECK_SIDE },	/* old ones, too, before there was TCP_OLD_SEQUENCE (6.6, b44693495af8) */
	{ .name = "TCP_INVALID_END_SEQUENCE", .reason = INERR_OUT_OF_WINDOW, .reset_reason = INERR_RST_OUT_OF_WINDOW },	/* 6.17: begins in the window, ends beyond */
	{ .name = "TCP_OVERWINDOW", .reason = INERR_OUT_OF_WINDOW, .reset_reason = INERR_RST_OUT_OF_WINDOW },
	{ .name = "TCP_OLD_DATA", .reason = INERR_OLD_DATA, .when = DUPLICATES },	/* a retransmission of what is there: "2nd most common case" */
	{ .name = "TCP_OLD_SEQUENCE", .reason = INERR_OLD_DATA, .reset_reason = INERR_RST_OUT_OF_WINDOW, .when = DUPLICATES },	/* keepalives, window probes */
	{ .name = "TCP_OFOMERGE", .reason = INERR_OLD_DATA, .when = DUPLICATES },	/* is in the out-of-order queue */
	{ .name = "TCP_OFO_DROP", .reason = INERR_OLD_DATA, .when = DUPLICATES },	/* the out-of-order queue has what has come since */
	{ .name = "TCP_OLD_ACK", .reason = INERR_OLD_DATA, .when = DUPLICATES },	/* in the window: acknowledges what is acknowledged */
	{ .name = "TCP_RFC7323_PAWS", .reason = INERR_PAWS, .check = CHECK_SIDE },	/* what comes late has an old timestamp, too */
	{ .name = "TCP_RFC7323_PAWS_ACK", .reason = INERR_OLD_DATA, .when = DUPLICATES },	/* 6.14: an ACK that came late */
	{ .name = "TCP_RFC7323_TW_PAWS", .reason = INERR_PAWS, .check = CHECK_SIDE },
	{ .name = "TCP_RFC7323_TSECR", .reason = INERR_PAWS },	/* an echo of what was never sent, at the handshake's end */
	{ .name = "TCP_INVALID_SYN", .reason = INERR_SYN_IN_WINDOW },
	{ .name = "TCP_RESET", .reason = INERR_RST_IN_WINDOW },
	{ .name = "TCP_ACK_UNSENT_DATA", .reason = INERR_INVALID_ACK },
	{ .name = "TCP_TOO_OLD_ACK", .reason = INERR_INVALID_ACK },
	{ .name = "TCP_INVALID_ACK_SEQUENCE", .reason = INERR_INVALID_ACK },	/* in SYN_SENT */

	{ .name = "TCP_AUTH_HDR", .reason = INERR_MD5 },	/* the option twice, or cut */
	{ .name = "TCP_MD5NOTFOUND", .reason = INERR_MD5 },
	{ .name = "TCP_MD5UNEXPECTED", .reason = INERR_MD5 },
	{ .name = "TCP_MD5FAILURE", .reason = INERR_MD5 },
	{ .name = "TCP_AONOTFOUND", .reason = INERR_AO },
	{ .name = "TCP_AOUNEXPECTED", .reason = INERR_AO },
	{ .name = "TCP_AOKEYNOTFOUND", .reason = INERR_AO },
	{ .name = "TCP_AOFAILURE", .reason = INERR_AO },

	{ .name = "NO_SOCKET", .reason = INERR_NO_SOCKET, .check = CHECK_ANSWER },
	{ .name = "TCP_CLOSE", .reason = INERR_NO_SOCKET },	/* closed, and not gone yet */
	{ .name = "TCP_ABORT_ON_DATA", .reason = INERR_NO_SOCKET },	/* data for a process that has closed: answered by a RST */

	{ .name = "PROTO_MEM", .reason = INERR_RECEIVE_BUFFER, .check = CHECK_SOCKET },
	{ .name = "TCP_ZEROWINDOW", .reason = INERR_RECEIVE_BUFFER },
	{ .name = "TCP_OFO_QUEUE_PRUNE", .reason = INERR_RECEIVE_BUFFER },
	{ .name = "SOCKET_BACKLOG", .reason = INERR_BACKLOG, .check = CHECK_SOCKET },
	{ .name = "TCP_LISTEN_OVERFLOW", .reason = INERR_LISTEN_OVERFLOW },	/* 6.15, e34100c2ecbb: the last ACK of a handshake; a SYN is counted only */

	{ .name = "TCP_MINTTL", .reason = INERR_OTHER },	/* below the socket's own limit (IP_MINTTL) */
	{ .name = "TCP_FASTOPEN", .reason = INERR_OTHER },	/* for a request by TCP Fast Open, and does not fit it */
};

bool inerr_rule_of(const char *name, bool duplicates, struct inerr_rule *ret_rule)
{
	const struct mapping unknown = { .reason = INERR_OTHER, .check = CHECK_SOCKET }, *found = NULL;

	if (strncmp(name, DROP_REASON_PREFIX, strlen(DROP_REASON_PREFIX)))
		return false;
	name += strlen(DROP_REASON_PREFIX);
	for (unsigned i = 0; i < sizeof(mappings) / sizeof(mappings[0]) && !found; i++)
		if (!strcmp(mappings[i].name, name))
			found = &mappings[i];
	if (!found && !strncmp(name, "TCP_", 4))
		found = &unknown;
	if (!found)
		return false;
	*ret_rule = (struct inerr_rule){ .reason = found->when == ALWAYS || duplicates ? found->reason : INERR_NONE, .check = found->check };
	ret_rule->reset_reason = found->reset_reason ?: ret_rule->reason;
	strncpy(ret_rule->name, name, sizeof(ret_rule->name) - 1);
	return true;
}
