/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sockets by their addresses, for packets that never meet their socket: the address of its struct sock, a mere number. An
 * established connection is found by both addresses, a listener by its port. Kept while a probe runs that asks (settings.by_address).
 * What is found may have been closed meanwhile, and its memory be another socket's: look again at what is read from it.
 */
#ifndef NETLINE_BY_ADDRESS_BPF_H
#define NETLINE_BY_ADDRESS_BPF_H

#include "sockets.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 16);	/* size and flags are the agent's choice, here and below */
	__type(key, struct address_key);
	__type(value, __u64);
} by_address SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 16);
	__type(key, struct listener_key);
	__type(value, __u64);
} listening SEC(".maps");

static __always_inline struct address_key address_of(const struct view *view)
{
	return (struct address_key){ view->local_ip, view->remote_ip, view->netns, view->local_port, view->remote_port };
}

static __always_inline struct listener_key listener_of(const struct sock *sk, bool known)
{
	return (struct listener_key){
		.netns = netns_of_socket(sk, known),
		.port = bpf_ntohs(OF((const struct inet_sock *)sk, inet_sport)),
	};
}

/* Takes out what a key leads to, unless that is another socket by now. */
static __always_inline void forget(void *map, const void *key, const struct sock *sk)
{
	__u64 *found = bpf_map_lookup_elem(map, key);

	if (found && *found == (__u64)sk)
		bpf_map_delete_elem(map, key);
}

/* 0, or a negative errno if there is no room. */
static __always_inline long enter_address(const struct sock *sk, bool known)
{
	__u64 value = (__u64)sk;
	struct address_key key;
	struct view view;

	look(sk, known, &view);
	key = address_of(&view);
	return bpf_map_update_elem(&by_address, &key, &value, BPF_ANY);
}

static __always_inline void forget_address(const struct sock *sk)
{
	struct address_key key;
	struct view view;

	look(sk, true, &view);
	key = address_of(&view);
	forget(&by_address, &key, sk);
}

static __always_inline void enter_listener(const struct sock *sk, bool known)
{
	struct listener_key key = listener_of(sk, known);
	__u64 value = (__u64)sk;

	bpf_map_update_elem(&listening, &key, &value, BPF_ANY);
}

static __always_inline void forget_listener(const struct sock *sk)
{
	struct listener_key key = listener_of(sk, true);

	forget(&listening, &key, sk);
}
#endif
