/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the traffic programs tell about what they did themselves, as members of JSON objects: the truth that netline's
 * records are held against. Times are nanoseconds; a span's monotonic stamps lie within its realtime stamps.
 */
#ifndef NETLINE_TEST_TRUTH_H
#define NETLINE_TEST_TRUTH_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

struct span {
	long long start_real, start, end, end_real;
};

static inline long long now_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static inline void span_start(struct span *span)
{
	span->start_real = now_of(CLOCK_REALTIME);
	span->start = now_of(CLOCK_MONOTONIC);
}

static inline void span_end(struct span *span)
{
	span->end = now_of(CLOCK_MONOTONIC);
	span->end_real = now_of(CLOCK_REALTIME);
}

static inline int print_span(char *to, size_t size, const struct span *span)
{
	return snprintf(to, size, "\"start\":%lld,\"end\":%lld,\"start_real\":%lld,\"end_real\":%lld",
			span->start, span->end, span->start_real, span->end_real);
}

static inline int print_address(char *to, size_t size, const char *name, const struct sockaddr_storage *address)
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;
	char ip[INET6_ADDRSTRLEN] = "";

	if (address->ss_family == AF_INET)
		inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip));
	else
		inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip));
	return snprintf(to, size, "\"%s\":\"%s\",\"%s_port\":%d", name, ip, name,
			ntohs(address->ss_family == AF_INET ? v4->sin_port : v6->sin6_port));
}

/* Both addresses, the cookie and the kernel's RTT of a socket; without a peer the remote address and RTT are left out. */
static inline int print_socket(char *to, size_t size, int fd)
{
	struct sockaddr_storage local = { 0 }, remote = { 0 };
	socklen_t local_len = sizeof(local), remote_len = sizeof(remote), cookie_len = sizeof(unsigned long long);
	unsigned long long cookie = 0;
	struct tcp_info info = { 0 };
	socklen_t info_len = sizeof(info);
	int n;

	getsockname(fd, (struct sockaddr *)&local, &local_len);
	getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &cookie_len);
	n = snprintf(to, size, "\"cookie\":\"%llu\",", cookie);
	n += print_address(to + n, size - n, "local", &local);
	if (getpeername(fd, (struct sockaddr *)&remote, &remote_len) || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_len))
		return n;
	n += snprintf(to + n, size - n, ",\"rtt_us\":%u,", info.tcpi_rtt);
	return n + print_address(to + n, size - n, "remote", &remote);
}

static inline int print_thread(char *to, size_t size)
{
	char name[16] = "";

	prctl(PR_GET_NAME, name);
	return snprintf(to, size, "\"pid\":%d,\"tid\":%d,\"thread_name\":\"%s\"", getpid(), (int)syscall(SYS_gettid), name);
}

/* "::1" and the like are IPv6, "::ffff:127.0.0.1" is IPv4 by an IPv6 socket. */
static inline socklen_t parse_address(const char *ip, int port, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in *v4 = (void *)ret_address;
	struct sockaddr_in6 *v6 = (void *)ret_address;

	memset(ret_address, 0, sizeof(*ret_address));
	if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, ip, &v6->sin6_addr) != 1) {
		fprintf(stderr, "%s: no address\n", ip);
		exit(2);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	return sizeof(*v6);
}
#endif
