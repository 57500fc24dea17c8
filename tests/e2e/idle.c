/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Very many open connections over 127.x addresses, whose both ends are in the same process; several processes, since the number of
 * open files of one is limited.
 *
 *   idle CONNECTIONS PROCESSES
 *
 * Prints {"op":"ready","pids":[...]} when all are open. Then for each line `STEP BYTES` on stdin: over every STEP-th connection of each
 * process so many bytes go from the connecting end to the other and are read; prints {"op":"touch","sent":...,"received":...}.
 */
#include "move.h"
#include "truth.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#define MAX_PROCESSES 64

struct touch {
	int step, bytes;
};

struct process {
	pid_t pid;
	int orders, answers;	/* pipes: struct touch, struct moved */
};

static void fail(const char *what)
{
	fprintf(stderr, "idle: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int listen_at(const char *ip, int port)
{
	struct sockaddr_storage address;
	socklen_t len = parse_address(ip, port, &address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) || listen(fd, 16))
		fail("listen");
	return fd;
}

/* ends[2 * i] has connected, ends[2 * i + 1] was accepted. */
static void open_connections(int number, int n, int *ends)
{
	struct sockaddr_storage address;
	socklen_t len;
	char ip[16];
	int listener;

	snprintf(ip, sizeof(ip), "127.0.1.%d", number + 1);
	listener = listen_at(ip, 80);
	len = parse_address(ip, 80, &address);
	for (int i = 0; i < n; i++) {
		ends[2 * i] = socket(AF_INET, SOCK_STREAM, 0);
		if (ends[2 * i] < 0 || connect(ends[2 * i], (struct sockaddr *)&address, len))
			fail("connect");
		ends[2 * i + 1] = accept(listener, NULL, NULL);
		if (ends[2 * i + 1] < 0)
			fail("accept");
	}
}

static void touch(const struct touch *order, const int *ends, int n, struct moved *ret)
{
	struct moved total = { 0 };

	for (int i = 0; i < n; i += order->step)
		if (move_bytes(ends[2 * i], order->bytes, 0, &total) || move_bytes(ends[2 * i + 1], 0, order->bytes, &total))
			fail("move_bytes");
	*ret = total;
}

static void run(int number, int n, int orders, int answers)
{
	int *ends = calloc(n, 2 * sizeof(*ends));
	struct moved moved = { 0 };
	struct touch order;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	open_connections(number, n, ends);
	do {
		if (write(answers, &moved, sizeof(moved)) != sizeof(moved))
			fail("write");
		if (read(orders, &order, sizeof(order)) != sizeof(order))
			exit(0);
		touch(&order, ends, n, &moved);
	} while (1);
}

static void start(struct process *process, int number, int n)
{
	int orders[2], answers[2];

	if (pipe2(orders, O_CLOEXEC) || pipe2(answers, O_CLOEXEC))
		fail("pipe");
	process->pid = fork();
	if (process->pid < 0)
		fail("fork");
	if (!process->pid) {
		close(orders[1]);
		run(number, n, orders[0], answers[1]);
	}
	close(orders[0]);
	close(answers[1]);
	process->orders = orders[1];
	process->answers = answers[0];
}

static struct moved read_answers(const struct process *processes, int n)
{
	struct moved one, total = { 0 };

	for (int i = 0; i < n; i++) {
		if (read(processes[i].answers, &one, sizeof(one)) != sizeof(one))
			fail("a process has ended");
		total.sent += one.sent;
		total.received += one.received;
	}
	return total;
}

int main(int argc, char **argv)
{
	struct process processes[MAX_PROCESSES] = { 0 };
	struct rlimit files;
	struct touch order;
	char text[128];
	int n;

	if (argc != 3 || atoi(argv[2]) > MAX_PROCESSES)
		return 2;
	n = atoi(argv[2]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	for (int i = 0; i < n; i++)
		start(&processes[i], i, atoi(argv[1]) / n);
	read_answers(processes, n);
	printf("{\"op\":\"ready\",\"pids\":[");
	for (int i = 0; i < n; i++)
		printf("%s%d", i ? "," : "", processes[i].pid);
	printf("]}\n");
	fflush(stdout);
	while (scanf("%d %d", &order.step, &order.bytes) == 2) {
		struct moved total;

		for (int i = 0; i < n; i++)
			if (write(processes[i].orders, &order, sizeof(order)) != sizeof(order))
				fail("write");
		total = read_answers(processes, n);
		print_moved(text, sizeof(text), &total);
		printf("{\"op\":\"touch\",%s}\n", text);
		fflush(stdout);
	}
	return 0;
}
