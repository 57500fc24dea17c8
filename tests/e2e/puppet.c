/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process that does with sockets what it is told on stdin, one command a line, and answers each with one JSON line on
 * stdout (accept by a multishot request: one per connection). Sockets are named by their descriptors.
 *
 *   puppet NAME                    NAME becomes the process's comm
 *
 *   socket 4|6 [nonblock]          bind FD IP PORT             listen FD BACKLOG      connect FD IP PORT
 *   accept FD HOW [N]              HOW: accept, accept4, uring, uring_async, uring_multishot (N times), uring_direct,
 *                                  int80 (accept4 of a 32-bit program), socketcall (accept of a 32-bit program)
 *   disconnect FD (AF_UNSPEC)      linger0 FD                  close FD               shutdown FD [write]
 *   transfer FD SEND RECEIVE       both at once; RECEIVE: so many bytes, or `end`: until the peer has closed
 *   fill FD                        sends until the kernel takes no more
 *   readable FD, writable FD (wait for it)                     error FD (SO_ERROR)    fork (a child that only waits)
 *   option FD NAME VALUE (see do_option)                       send FD TEXT           complete FD (see do_complete)
 */
#include "move.h"
#include "truth.h"

#include <linux/io_uring.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

static const char *op;
static struct moved moved;	/* by the command */

/* The answer; `result` is negative errno or a descriptor or 0; fd < 0: no socket to tell of. */
static void answer(long result, int fd, const struct span *span)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "{\"op\":\"%s\",\"result\":%ld,\"errno\":\"%s\",", op, result,
			 result < 0 ? strerrorname_np(-result) : "");

	n += print_thread(line + n, sizeof(line) - n);
	n += snprintf(line + n, sizeof(line) - n, ",");
	n += print_moved(line + n, sizeof(line) - n, &moved);
	if (span) {
		n += snprintf(line + n, sizeof(line) - n, ",");
		n += print_span(line + n, sizeof(line) - n, span);
	}
	if (fd >= 0) {
		n += snprintf(line + n, sizeof(line) - n, ",");
		n += print_socket(line + n, sizeof(line) - n, fd);
	}
	puts(strcat(line, "}"));
	fflush(stdout);
}

static long errno_of(long result)
{
	return result < 0 ? -errno : result;
}

/* io_uring, by system calls: one request at a time. */
#define MULTISHOT 1	/* the request's user_data */
#define MAX_ACCEPTS 16

struct uring {
	int fd;
	struct io_uring_params params;
	struct io_uring_sqe *sqes;
	char *rings;
};

static long uring_open(struct uring *ring)
{
	size_t sq, cq;

	memset(ring, 0, sizeof(*ring));
	ring->fd = syscall(SYS_io_uring_setup, 8, &ring->params);
	if (ring->fd < 0)
		return -errno;
	sq = ring->params.sq_off.array + ring->params.sq_entries * sizeof(__u32);
	cq = ring->params.cq_off.cqes + ring->params.cq_entries * sizeof(struct io_uring_cqe);
	ring->rings = mmap(NULL, sq > cq ? sq : cq, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, ring->params.sq_entries * sizeof(*ring->sqes), PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQES);
	return ring->rings == MAP_FAILED || ring->sqes == MAP_FAILED ? -ENOMEM : 0;
}

static __u32 *uring_word(struct uring *ring, __u32 offset)
{
	return (__u32 *)(ring->rings + offset);
}

static void uring_submit(struct uring *ring, const struct io_uring_sqe *sqe)
{
	__u32 *tail = uring_word(ring, ring->params.sq_off.tail);
	__u32 index = *tail & *uring_word(ring, ring->params.sq_off.ring_mask);

	ring->sqes[index] = *sqe;
	uring_word(ring, ring->params.sq_off.array)[index] = index;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
}

/* Submits what is there, waits for a completion, and returns its result. */
static long uring_wait(struct uring *ring, int submit)
{
	__u32 *head = uring_word(ring, ring->params.cq_off.head), *tail = uring_word(ring, ring->params.cq_off.tail);
	struct io_uring_cqe *cqes = (void *)(ring->rings + ring->params.cq_off.cqes);
	long result;

	while (submit || *head == __atomic_load_n(tail, __ATOMIC_ACQUIRE)) {
		if (syscall(SYS_io_uring_enter, ring->fd, submit, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
			return -errno;
		submit = 0;
	}
	result = cqes[*head & *uring_word(ring, ring->params.cq_off.ring_mask)].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return result;
}

/* Ends a multishot accept here and now: the kernel would do it some time after the ring is closed. */
static void uring_cancel(struct uring *ring)
{
	struct io_uring_sqe sqe = { .opcode = IORING_OP_ASYNC_CANCEL, .addr = MULTISHOT, .user_data = 2 };

	uring_submit(ring, &sqe);
	uring_wait(ring, 1);	/* the end of the one and of the other, in either order */
	uring_wait(ring, 0);
}

/* A completion that is of no request, whose result is by chance the number of a descriptor: a message of the ring to itself. */
static long do_complete(int fd)
{
	struct io_uring_sqe sqe = { .opcode = IORING_OP_MSG_RING, .len = fd };
	struct uring ring;
	long first, second, err = uring_open(&ring);

	if (err)
		return err;
	sqe.fd = ring.fd;
	uring_submit(&ring, &sqe);
	first = uring_wait(&ring, 1);
	if (first < 0)
		return first;
	second = uring_wait(&ring, 0);	/* the message and the end of the request, in either order */
	close(ring.fd);
	return first + second == fd ? 0 : -EIO;
}

static void accept_by_uring(int listener, const char *how, int n)
{
	struct io_uring_sqe sqe = { .opcode = IORING_OP_ACCEPT, .fd = listener, .accept_flags = SOCK_CLOEXEC };
	bool direct = !strcmp(how, "uring_direct");
	int none = -1;
	struct span spans[MAX_ACCEPTS];
	long result, results[MAX_ACCEPTS];
	struct uring ring;

	if (!strcmp(how, "uring_async"))
		sqe.flags = IOSQE_ASYNC;
	if (!strcmp(how, "uring_multishot"))
		sqe.ioprio = IORING_ACCEPT_MULTISHOT, sqe.user_data = MULTISHOT;
	result = n > MAX_ACCEPTS ? -E2BIG : uring_open(&ring);
	if (!result && direct) {	/* into the ring's own table of files, not into the process's */
		sqe.file_index = 1;
		sqe.accept_flags = 0;
		result = errno_of(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, &none, 1));
	}
	if (result) {
		answer(result, -1, NULL);
		return;
	}
	span_start(&spans[0]);
	uring_submit(&ring, &sqe);
	for (int i = 0; i < n; i++) {
		results[i] = i && results[i - 1] < 0 ? results[i - 1] : uring_wait(&ring, i == 0);
		span_end(&spans[i]);
		if (i + 1 < n)
			spans[i + 1] = spans[0];	/* the kernel may accept them all at once */
	}
	if (sqe.user_data == MULTISHOT && results[n - 1] >= 0)	/* else it has ended */
		uring_cancel(&ring);
	if (!direct)	/* else the ring holds the connection */
		close(ring.fd);
	for (int i = 0; i < n; i++)
		answer(results[i], direct ? -1 : results[i], &spans[i]);
}

/* System calls of 32-bit programs, with arguments in low memory. */
static sigjmp_buf no_int80;

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(no_int80, 1);
}

static long int80(long number, long a, long b, long c, long d)
{
#ifdef __x86_64__
	if (sigsetjmp(no_int80, 1))
		return -ENOSYS;
	signal(SIGSEGV, on_fault);
	__asm__ volatile("int $0x80" : "+a"(number) : "b"(a), "c"(b), "d"(c), "S"(d) : "memory", "r8", "r9", "r10", "r11");
	signal(SIGSEGV, SIG_DFL);
	return (int)number;
#else
	(void)number; (void)a; (void)b; (void)c; (void)d; (void)on_fault;
	return -ENOSYS;
#endif
}

static long accept_32(int listener, bool by_socketcall)
{
#ifdef MAP_32BIT
	struct low {
		struct sockaddr_storage address;
		__u32 len, arguments[3];
	} *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (low == MAP_FAILED)
		return -errno;
	low->len = sizeof(low->address);
	if (!by_socketcall)
		return int80(364, listener, (long)&low->address, (long)&low->len, 0);	/* accept4 */
	low->arguments[0] = listener;
	low->arguments[1] = (__u32)(long)&low->address;
	low->arguments[2] = (__u32)(long)&low->len;
	return int80(102, 5, (long)low->arguments, 0, 0);	/* socketcall, SYS_ACCEPT */
#else
	(void)listener; (void)by_socketcall; (void)int80;
	return -ENOSYS;
#endif
}

static void do_accept(int listener, const char *how, int n)
{
	struct span span;
	long result;

	if (!strncmp(how, "uring", 5)) {
		accept_by_uring(listener, how, n);
		return;
	}
	span_start(&span);
	if (!strcmp(how, "accept"))
		result = errno_of(accept(listener, NULL, NULL));
	else if (!strcmp(how, "accept4"))
		result = errno_of(accept4(listener, NULL, NULL, 0));
	else
		result = accept_32(listener, !strcmp(how, "socketcall"));
	span_end(&span);
	answer(result, result, &span);
}

static void do_connect(int fd, const char *ip, int port)
{
	struct sockaddr_storage address;
	socklen_t len = parse_address(ip, port, &address);
	struct span span;
	long result;

	span_start(&span);
	result = errno_of(connect(fd, (struct sockaddr *)&address, len));
	span_end(&span);
	answer(result, fd, &span);
}

static long do_socket(int family, bool nonblock)
{
	int both = 0, yes = 1, fd = socket(family == 4 ? AF_INET : AF_INET6, SOCK_STREAM | (nonblock ? SOCK_NONBLOCK : 0), 0);

	if (fd >= 0 && family == 6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &both, sizeof(both));
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	return errno_of(fd);
}

static long do_bind(int fd, const char *ip, int port)
{
	struct sockaddr_storage address;
	socklen_t len = parse_address(ip, port, &address);

	return errno_of(bind(fd, (struct sockaddr *)&address, len));
}

static void do_poll(int fd, short events)
{
	struct pollfd pollfd = { .fd = fd, .events = events };
	struct span span;

	span_start(&span);
	while (poll(&pollfd, 1, -1) < 0)
		;
	span_end(&span);
	answer(0, fd, &span);
}

static long do_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	return -error;
}

static long do_disconnect(int fd)
{
	struct sockaddr address = { .sa_family = AF_UNSPEC };

	return errno_of(connect(fd, &address, sizeof(address)));
}

static long do_linger0(int fd)
{
	struct linger linger = { .l_onoff = 1 };

	return errno_of(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
}

static long do_option(int fd, const char *name, int value)
{
	static const struct {
		const char *name;
		int number;
	} options[] = {
		{ "user_timeout", TCP_USER_TIMEOUT }, { "defer_accept", TCP_DEFER_ACCEPT },
		{ "fastopen", TCP_FASTOPEN }, { "fastopen_connect", 30 /* TCP_FASTOPEN_CONNECT */ },
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (!strcmp(name, options[i].name))
			return errno_of(setsockopt(fd, IPPROTO_TCP, options[i].number, &value, sizeof(value)));
	return -EINVAL;
}

static void do_transfer(int fd, const char *send, const char *receive)
{
	struct span span;
	long result;

	span_start(&span);
	result = move_bytes(fd, atoll(send), strcmp(receive, "end") ? atoll(receive) : TO_END, &moved);
	span_end(&span);
	answer(result, fd, &span);
}

static long do_fork(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return errno_of(pid);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent)
		pause();
	_exit(0);
}

static void obey(int n, char **words)
{
	int fd = n > 1 ? atoi(words[1]) : -1;
	struct span span;
	long result;

	op = words[0];
	moved = (struct moved){ 0 };
	if (!strcmp(op, "connect") && n == 4) {
		do_connect(fd, words[2], atoi(words[3]));
		return;
	}
	if (!strcmp(op, "accept") && n >= 3) {
		do_accept(fd, words[2], n > 3 ? atoi(words[3]) : 1);
		return;
	}
	if (!strcmp(op, "transfer") && n == 4) {
		do_transfer(fd, words[2], words[3]);
		return;
	}
	if ((!strcmp(op, "readable") || !strcmp(op, "writable")) && n == 2) {
		do_poll(fd, op[0] == 'r' ? POLLIN : POLLOUT);
		return;
	}
	span_start(&span);
	if (!strcmp(op, "socket") && n >= 2)
		result = do_socket(fd, n > 2);
	else if (!strcmp(op, "bind") && n == 4)
		result = do_bind(fd, words[2], atoi(words[3]));
	else if (!strcmp(op, "listen") && n == 3)
		result = errno_of(listen(fd, atoi(words[2])));
	else if (!strcmp(op, "disconnect") && n == 2)
		result = do_disconnect(fd);
	else if (!strcmp(op, "linger0") && n == 2)
		result = do_linger0(fd);
	else if (!strcmp(op, "shutdown") && n >= 2)
		result = errno_of(shutdown(fd, n > 2 ? SHUT_WR : SHUT_RDWR));
	else if (!strcmp(op, "fill") && n == 2)
		result = move_fill(fd, &moved);
	else if (!strcmp(op, "close") && n == 2)
		result = errno_of(close(fd));
	else if (!strcmp(op, "error") && n == 2)
		result = do_error(fd);
	else if (!strcmp(op, "option") && n == 4)
		result = do_option(fd, words[2], atoi(words[3]));
	else if (!strcmp(op, "send") && n == 3)
		result = errno_of(send(fd, words[2], strlen(words[2]), MSG_NOSIGNAL));
	else if (!strcmp(op, "complete") && n == 2)
		result = do_complete(fd);
	else if (!strcmp(op, "fork"))
		result = do_fork();
	else
		result = -EINVAL;
	span_end(&span);
	answer(result, !strcmp(op, "socket") ? result : !strcmp(op, "bind") || !strcmp(op, "listen") ? fd : -1, &span);
}

int main(int argc, char **argv)
{
	char line[256], *words[8], *rest;

	if (argc != 2)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, argv[1]);
	op = "start";
	answer(0, -1, NULL);
	while (fgets(line, sizeof(line), stdin)) {
		int n = 0;

		for (char *word = strtok_r(line, " \n", &rest); word && n < 8; word = strtok_r(NULL, " \n", &rest))
			words[n++] = word;
		if (n)
			obey(n, words);
	}
	return 0;
}
