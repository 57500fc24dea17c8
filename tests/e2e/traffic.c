/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many connections over loopback, by several threads of several processes on both sides.
 *
 *   traffic CONNECTIONS CLIENT_PROCESSES CLIENT_THREADS SERVER_PROCESSES [MAX_BYTES]
 *
 * Takes turns between IPv4, IPv6, and IPv4 by IPv6 sockets. Every server process has one thread per listener, so that
 * processes share listeners. Prints {"op":"ready","pids":[...]} and waits for a line on stdin; then a line per connect
 * and per accept; ends when all connections are accepted and closed.
 *
 * With MAX_BYTES each connection moves up to so many bytes each way, ends in one of several manners, and has a client's port
 * of its own; each side tells at the end, with what it sent and received.
 */
#include "exchange.h"
#include "truth.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define MAX_PROCESSES 16
#define MAX_THREADS 64

enum { LISTEN_4, LISTEN_6, LISTEN_BOTH, LISTENERS };
static const char *const listen_ips[] = { "127.0.0.1", "::1", "::" };
static const char *const connect_ips[] = { "127.0.0.1", "::1", "::ffff:127.0.0.1" };

static int listeners[LISTENERS], ports[LISTENERS];
static int gate[2], done[2];	/* pipes: clients start when the gate is closed; servers write a byte per accept */
static int process_number;
static char process_name[16];
static int max_bytes;	/* 0: nothing is moved */

#define FIRST_PORT 2000	/* of the clients when bytes are moved; listeners have others, from the ephemeral range */

struct line {
	char text[1024];
	int n;
};

struct work {
	pthread_t thread;
	int number;		/* within its process */
	int first, step, end;	/* of the connections: those of this thread */
};

static void fail_with(const char *what, int err)
{
	fprintf(stderr, "traffic: %s: %s\n", what, strerror(-err));
	exit(1);
}

static void fail(const char *what)
{
	fail_with(what, -errno);
}

/* While the socket still has a peer. */
static void describe(struct line *line, const char *op, int fd, const struct span *span)
{
	char *to = line->text;
	size_t size = sizeof(line->text);
	int n = snprintf(to, size, "{\"op\":\"%s\",\"process_name\":\"%s\",", op, process_name);

	n += print_thread(to + n, size - n);
	n += snprintf(to + n, size - n, ",");
	n += print_span(to + n, size - n, span);
	n += snprintf(to + n, size - n, ",");
	line->n = n + print_socket(to + n, size - n, fd);
}

static void tell(struct line *line, const struct moved *moved)
{
	line->n += snprintf(line->text + line->n, sizeof(line->text) - line->n, ",");
	line->n += print_moved(line->text + line->n, sizeof(line->text) - line->n, moved);
	line->n += snprintf(line->text + line->n, sizeof(line->text) - line->n, "}\n");
	if (write(STDOUT_FILENO, line->text, line->n) != line->n)	/* shorter than PIPE_BUF: whole */
		fail("write");
}

static void open_listener(int i)
{
	struct sockaddr_storage address;
	socklen_t len = parse_address(listen_ips[i], 0, &address);
	int only6 = i == LISTEN_6;

	listeners[i] = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listeners[i] < 0 ||
	    (address.ss_family == AF_INET6 && setsockopt(listeners[i], IPPROTO_IPV6, IPV6_V6ONLY, &only6, sizeof(only6))) ||
	    bind(listeners[i], (struct sockaddr *)&address, len) || listen(listeners[i], 4096) ||
	    getsockname(listeners[i], (struct sockaddr *)&address, &len))
		fail("listen");
	ports[i] = ntohs(i == LISTEN_4 ? ((struct sockaddr_in *)&address)->sin_port : ((struct sockaddr_in6 *)&address)->sin6_port);
}

static void name_thread(const char *kind, int thread)
{
	char name[16];

	snprintf(name, sizeof(name), "%.6s-%d-%d", kind, process_number % 100, thread % 100);
	prctl(PR_SET_NAME, name);
}

static void *serve(void *argument)
{
	struct work *work = argument;
	struct moved moved;
	struct span span;
	struct line line;
	int fd, err;

	name_thread("srv", work->number);
	for (;;) {
		span_start(&span);
		fd = accept4(listeners[work->number], NULL, NULL, SOCK_CLOEXEC);
		span_end(&span);
		if (fd < 0 && errno == EINVAL)	/* the listener was shut down */
			return NULL;
		if (fd < 0)
			fail("accept4");
		describe(&line, "accept", fd, &span);
		moved = (struct moved){ 0 };
		err = max_bytes ? exchange_as_server(fd, &moved) : 0;
		if (err)
			fail_with("exchange", err);
		tell(&line, &moved);
		close(fd);
		if (write(done[1], "", 1) != 1)
			fail("write");
	}
}

static void bind_port(int fd, int port)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &len))
		fail("getsockname");
	((struct sockaddr_in *)&address)->sin_port = htons(port);	/* at the same place for IPv6 */
	if (bind(fd, (struct sockaddr *)&address, len))
		fail("bind");
}

static void make_connection(int number)
{
	struct sockaddr_storage address;
	int kind = number % LISTENERS;
	socklen_t len = parse_address(connect_ips[kind], ports[kind], &address);
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct moved moved = { 0 };
	struct span span;
	struct line line;
	int err;

	if (max_bytes)
		bind_port(fd, FIRST_PORT + number);
	span_start(&span);
	if (connect(fd, (struct sockaddr *)&address, len))
		fail("connect");
	span_end(&span);
	describe(&line, "connect", fd, &span);
	err = max_bytes ? exchange_as_client(fd, number / LISTENERS, max_bytes, &moved) : 0;
	if (err)
		fail_with("exchange", err);
	tell(&line, &moved);
	close(fd);
}

static void *make_connections(void *argument)
{
	struct work *work = argument;
	char byte;

	name_thread("cli", work->number);
	if (read(gate[0], &byte, 1))
		fail("gate");
	for (int i = work->first; i < work->end; i += work->step)
		make_connection(i);
	return NULL;
}

static void run_threads(struct work *works, int n, void *(*body)(void *))
{
	for (int i = 0; i < n; i++)
		if (pthread_create(&works[i].thread, NULL, body, &works[i]))
			fail("pthread_create");
	for (int i = 0; i < n; i++)
		pthread_join(works[i].thread, NULL);
	exit(0);
}

static pid_t start_process(const char *kind, int number)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		fail("fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		exit(1);
	close(gate[1]);
	close(done[0]);
	process_number = number;
	snprintf(process_name, sizeof(process_name), "%s-%d", kind, number);
	prctl(PR_SET_NAME, process_name);
	return 0;
}

static void wait_for(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status)
		fail("a process failed");
}

static void wait_for_accepts(int n)
{
	char bytes[4096];

	while (n) {
		int got = read(done[0], bytes, sizeof(bytes));

		if (got <= 0)
			fail("the servers ended");
		n -= got;
	}
}

int main(int argc, char **argv)
{
	struct work works[MAX_THREADS] = { 0 };
	pid_t pids[2 * MAX_PROCESSES];
	int connections, clients, threads, servers, n = 0;

	if (argc != 5 && argc != 6)
		return 2;
	connections = atoi(argv[1]);
	clients = atoi(argv[2]);
	threads = atoi(argv[3]);
	servers = atoi(argv[4]);
	max_bytes = argc > 5 ? atoi(argv[5]) : 0;
	if (clients > MAX_PROCESSES || servers > MAX_PROCESSES || threads > MAX_THREADS)
		return 2;
	if (pipe(gate) || pipe(done))
		fail("pipe");
	for (int i = 0; i < LISTENERS; i++)
		open_listener(i);
	for (int p = 0; p < servers; p++) {
		pids[n] = start_process("server", p);
		for (int t = 0; t < LISTENERS; t++)
			works[t].number = t;
		if (!pids[n++])
			run_threads(works, LISTENERS, serve);
	}
	close(done[1]);
	for (int p = 0; p < clients; p++) {
		pids[n] = start_process("client", p);
		for (int t = 0; t < threads; t++)
			works[t] = (struct work){ .number = t, .first = p * threads + t, .step = clients * threads, .end = connections };
		if (!pids[n++])
			run_threads(works, threads, make_connections);
	}
	printf("{\"op\":\"ready\",\"pids\":[");
	for (int i = 0; i < n; i++)
		printf("%s%d", i ? "," : "", pids[i]);
	printf("]}\n");
	fflush(stdout);
	if (getchar() == EOF)
		return 1;
	close(gate[1]);
	for (int p = servers; p < n; p++)
		wait_for(pids[p]);
	wait_for_accepts(connections);
	for (int i = 0; i < LISTENERS; i++)
		shutdown(listeners[i], SHUT_RD);
	for (int p = 0; p < servers; p++)
		wait_for(pids[p]);
	return 0;
}
