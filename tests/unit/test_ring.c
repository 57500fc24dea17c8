/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reader of a BPF ring buffer: against memory laid out like one, where a record can be busy for as long as the test
 * likes, and against the kernel's own, filled by a BPF program that is run on packets of ours (root; else skipped).
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "../../agent/ring.h"
#include "unit.h"

/* --- what came out --- */

struct taken {
	uint8_t first[512];	/* first byte of each record */
	size_t sizes[512];
	unsigned n, refuse_at;	/* refuses from this one on; 0: none */
};

static bool take(void *context, const void *record, size_t size)
{
	struct taken *taken = context;

	if (taken->refuse_at && taken->n + 1 >= taken->refuse_at)
		return false;
	assert_true(taken->n < COUNT_OF(taken->sizes));
	for (size_t i = 0; i < size; i++)
		require(((const uint8_t *)record)[i] == (uint8_t)(*(const uint8_t *)record + i), "byte %zu of record %u", i, taken->n);
	taken->first[taken->n] = size ? *(const uint8_t *)record : 0;
	taken->sizes[taken->n++] = size;
	return true;
}

/* Every byte of a record follows from its first. */
static void fill(uint8_t *at, uint8_t first, size_t size)
{
	for (size_t i = 0; i < size; i++)
		at[i] = first + i;
}

/* --- a ring in memory --- */

static struct {
	int memory, wake;	/* an eventfd stands in for the map where epoll is concerned */
	size_t page, size;
	char *map, *data;
	_Atomic unsigned long *consumer, *producer;
	struct ring *ring;
} fake = { .memory = -1 };

/* In place of libc's: memory cannot be waited for. */
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	return syscall(SYS_epoll_ctl, epoll, operation, fd == fake.memory ? fake.wake : fd, event);
}

static int fake_open(void **state)
{
	(void)state;
	fake.page = fake.size = sysconf(_SC_PAGESIZE);
	fake.memory = memfd_create("ring", MFD_CLOEXEC);
	fake.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fake.memory < 0 || fake.wake < 0 || ftruncate(fake.memory, 2 * fake.page + 2 * fake.size))
		return -1;
	fake.map = mmap(NULL, 2 * fake.page + 2 * fake.size, PROT_READ | PROT_WRITE, MAP_SHARED, fake.memory, 0);
	if (fake.map == MAP_FAILED)
		return -1;
	fake.consumer = (void *)fake.map;
	fake.producer = (void *)(fake.map + fake.page);
	fake.data = fake.map + 2 * fake.page;
	return ring_new(fake.memory, fake.size, &fake.ring);
}

static int fake_close(void **state)
{
	(void)state;
	ring_free(fake.ring);
	munmap(fake.map, 2 * fake.page + 2 * fake.size);
	close(fake.memory);
	close(fake.wake);
	fake.memory = -1;
	return 0;
}

/* Both copies of the data. */
static void fake_write(unsigned long at, const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		size_t place = (at + i) & (fake.size - 1);

		fake.data[place] = fake.data[place + fake.size] = ((const char *)bytes)[i];
	}
}

static void set_header(unsigned long at, uint32_t length)
{
	uint32_t header[2] = { length, 0xffffffff };	/* the second word is the kernel's own */

	fake_write(at, header, sizeof(header));
}

static size_t room_of(size_t size)
{
	return (BPF_RINGBUF_HDR_SZ + size + 7) / 8 * 8;
}

/* Returns the position of the record's header. */
static unsigned long fake_produce(uint8_t first, size_t size, uint32_t bits)
{
	unsigned long at = *fake.producer;
	uint8_t bytes[4096];

	assert_true(size <= sizeof(bytes) && at + room_of(size) - *fake.consumer <= fake.size);
	fill(bytes, first, size);
	set_header(at, size | bits);
	fake_write(at + BPF_RINGBUF_HDR_SZ, bytes, size);
	*fake.producer = at + room_of(size);
	return at;
}

static void expect_drained(unsigned max, unsigned n)
{
	struct taken taken = { 0 };

	assert_int_equal(ring_drain(fake.ring, max, take, &taken), n);
	assert_int_equal(taken.n, n);
}

static void test_empty(void **state)
{
	(void)state;
	expect_drained(10, 0);
	assert_int_equal(ring_pending(fake.ring), 0);
	assert_int_equal(ring_peak(fake.ring), 0);
}

static void test_sizes(void **state)
{
	(void)state;
	for (size_t size = 0; size <= 200; size++) {
		struct taken taken = { 0 };

		fake_produce(size, size, 0);
		fake_produce(7, 8, 0);
		assert_int_equal(ring_pending(fake.ring), room_of(size) + 16);
		assert_int_equal(ring_drain(fake.ring, 10, take, &taken), 2);
		assert_int_equal(taken.sizes[0], size);
		assert_int_equal(taken.sizes[1], 8);
		assert_int_equal(ring_pending(fake.ring), 0);
	}
}

/* A full ring, from every place where a record can begin: records run over the end of the data. */
static void test_wrap(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3 * fake.size / 16; i++) {
		struct taken taken = { 0 };

		fake_produce(i, 8, 0);
		expect_drained(1, 1);
		fake_produce(i, fake.size - BPF_RINGBUF_HDR_SZ, 0);
		assert_int_equal(ring_pending(fake.ring), fake.size);
		assert_int_equal(ring_drain(fake.ring, 10, take, &taken), 1);
		assert_int_equal(taken.sizes[0], fake.size - BPF_RINGBUF_HDR_SZ);
	}
	assert_int_equal(ring_peak(fake.ring), fake.size);
}

static void test_max(void **state)
{
	struct taken taken = { 0 };

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		fake_produce(i, 16, 0);
	expect_drained(0, 0);
	assert_int_equal(ring_drain(fake.ring, 4, take, &taken), 4);
	assert_int_equal(ring_pending(fake.ring), 6 * 24);
	assert_int_equal(ring_drain(fake.ring, 100, take, &taken), 6);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(taken.first[i], i);
	assert_int_equal(ring_peak(fake.ring), 10 * 24);
}

/* What is busy holds up what comes behind it. */
static void test_busy(void **state)
{
	struct taken taken = { 0 };
	unsigned long at;

	(void)state;
	fake_produce(1, 8, 0);
	at = fake_produce(2, 8, BPF_RINGBUF_BUSY_BIT);
	fake_produce(3, 8, 0);
	assert_int_equal(ring_drain(fake.ring, 10, take, &taken), 1);
	assert_int_equal(ring_drain(fake.ring, 10, take, &taken), 0);
	assert_int_equal(ring_pending(fake.ring), 32);
	set_header(at, 8);
	assert_int_equal(ring_drain(fake.ring, 10, take, &taken), 2);
	assert_int_equal(taken.first[2], 3);
}

/* What was discarded takes its place, and no part in the count. */
static void test_discarded(void **state)
{
	struct taken taken = { 0 };
	unsigned long at;

	(void)state;
	for (unsigned i = 0; i < 30; i++)
		fake_produce(i, i, i % 3 ? BPF_RINGBUF_DISCARD_BIT : 0);
	at = fake_produce(30, 100, BPF_RINGBUF_DISCARD_BIT | BPF_RINGBUF_BUSY_BIT);
	assert_int_equal(ring_drain(fake.ring, 10, take, &taken), 10);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(taken.sizes[i], 3 * i);
	expect_drained(10, 0);
	assert_int_equal(ring_pending(fake.ring), room_of(100));
	set_header(at, 100 | BPF_RINGBUF_DISCARD_BIT);
	expect_drained(10, 0);
	assert_int_equal(ring_pending(fake.ring), 0);
}

/* A refused record stays, and comes again. */
static void test_refused(void **state)
{
	struct taken taken = { .refuse_at = 3 };

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		fake_produce(i, 8, 0);
	assert_int_equal(ring_drain(fake.ring, 10, take, &taken), 2);
	assert_int_equal(ring_drain(fake.ring, 10, take, &taken), 0);
	assert_int_equal(ring_pending(fake.ring), 3 * 16);
	taken.refuse_at = 0;
	assert_int_equal(ring_drain(fake.ring, 10, take, &taken), 3);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(taken.first[i], i);
}

static bool readable(const struct ring *ring, int timeout_ms)
{
	struct pollfd poll_fd = { .fd = ring_fd(ring), .events = POLLIN };

	return poll(&poll_fd, 1, timeout_ms) == 1;
}

/* One wake-up is one: it is taken once, whether or not the ring was read. */
static void test_wake(void **state)
{
	(void)state;
	assert_false(readable(fake.ring, 0));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(eventfd_write(fake.wake, 1), 0);
		assert_true(readable(fake.ring, 0));
		assert_true(readable(fake.ring, 0));
		ring_acknowledge(fake.ring);
		assert_false(readable(fake.ring, 0));
	}
	ring_acknowledge(fake.ring);
}

/* Nothing stays mapped or open, whichever step fails. */
static void test_errors(void **state)
{
	struct ring *ring = NULL;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), memory = memfd_create("other", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ring_new(-1, fake.size, &ring), -EBADF);
	assert_int_equal(ring_new(null, fake.size, &ring), -ENODEV);
	assert_int_equal(ring_new(memory, fake.size, &ring), -EPERM);	/* from epoll */
	assert_null(ring);
	assert_int_equal(close(memory), 0);
	assert_int_equal(close(null), 0);
	ring_free(NULL);
}

/* --- the kernel's ring --- */

#define INSN(code_, dst, src, off_, imm_) { .code = code_, .dst_reg = dst, .src_reg = src, .off = off_, .imm = imm_ }
#define MOV(dst, src) INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define MOV_IMM(dst, imm) INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm)
#define ALU_IMM(op, dst, imm) INSN(BPF_ALU64 | op | BPF_K, dst, 0, 0, imm)
#define CALL(helper) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define LOAD_MAP(dst, fd) INSN(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)

#define LEAST 14	/* a packet has an Ethernet header */
#define MOST (LEAST + 127)
#define STACK_WORDS 18	/* 144 bytes: MOST and what rounds it up */

/* Copies the packet into the ring; returns what bpf_ringbuf_output() does. */
static int load_output(int map)
{
	struct bpf_insn program[STACK_WORDS + 24], tail[] = {
		MOV(6, 1), INSN(BPF_LDX | BPF_MEM | BPF_W, 7, 1, offsetof(struct __sk_buff, len), 0),
		ALU_IMM(BPF_SUB, 7, LEAST), ALU_IMM(BPF_AND, 7, 127), ALU_IMM(BPF_ADD, 7, LEAST),
		MOV(1, 6), MOV_IMM(2, 0), MOV(3, 10), ALU_IMM(BPF_ADD, 3, -8 * STACK_WORDS), MOV(4, 7), CALL(BPF_FUNC_skb_load_bytes),
		LOAD_MAP(1, map), MOV(2, 10), ALU_IMM(BPF_ADD, 2, -8 * STACK_WORDS), MOV(3, 7), MOV_IMM(4, 0),
		CALL(BPF_FUNC_ringbuf_output), EXIT,
	};

	for (int i = 0; i < STACK_WORDS; i++)
		program[i] = (struct bpf_insn)INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8 * (i + 1), 0);
	memcpy(program + STACK_WORDS, tail, sizeof(tail));
	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "ring_output", "Dual BSD/GPL", program, STACK_WORDS + COUNT_OF(tail), NULL);
}

/* Reserves 40 bytes and discards them. */
static int load_discard(int map)
{
	const struct bpf_insn program[] = {
		LOAD_MAP(1, map), MOV_IMM(2, 40), MOV_IMM(3, 0), CALL(BPF_FUNC_ringbuf_reserve),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3, 0), MOV(1, 0), MOV_IMM(2, 0), CALL(BPF_FUNC_ringbuf_discard),
		MOV_IMM(0, 0), EXIT,
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "ring_discard", "Dual BSD/GPL", program, COUNT_OF(program), NULL);
}

static struct {
	int map, output, discard;
	size_t size;
	struct ring *ring;
} kernel;

/* Valgrind does not know which members of bpf(2)'s argument the kernel reads. */
static void kernel_open(void)
{
	kernel.size = sysconf(_SC_PAGESIZE);
	VALGRIND_DISABLE_ERROR_REPORTING;
	kernel.map = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, kernel.size, NULL);
	if (kernel.map < 0 && (errno == EPERM || errno == EINVAL || errno == ENOSYS)) {
		VALGRIND_ENABLE_ERROR_REPORTING;
		skip();	/* not root, or before 5.8 */
	}
	assert_true(kernel.map >= 0);
	kernel.output = load_output(kernel.map);
	kernel.discard = load_discard(kernel.map);
	VALGRIND_ENABLE_ERROR_REPORTING;
	require(kernel.output >= 0 && kernel.discard >= 0, "programs: %s", strerror(errno));
	assert_int_equal(ring_new(kernel.map, kernel.size, &kernel.ring), 0);
}

static void kernel_close(void)
{
	ring_free(kernel.ring);
	close(kernel.output);
	close(kernel.discard);
	close(kernel.map);
}

/* False: the ring is full. */
static bool run(int program, uint8_t first, size_t size)
{
	uint8_t packet[MOST];
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = size, .repeat = 1);

	fill(packet, first, size);
	VALGRIND_DISABLE_ERROR_REPORTING;
	assert_int_equal(bpf_prog_test_run_opts(program, &options), 0);
	VALGRIND_ENABLE_ERROR_REPORTING;
	return !options.retval;
}

static void test_kernel_wake(void **state)
{
	(void)state;
	kernel_open();
	assert_false(readable(kernel.ring, 0));
	for (unsigned i = 0; i < 3; i++) {
		struct taken taken = { 0 };

		assert_true(run(kernel.output, i, 20));
		assert_true(readable(kernel.ring, 5000));
		ring_acknowledge(kernel.ring);
		assert_true(run(kernel.output, i, 20));	/* not into an empty ring */
		assert_false(readable(kernel.ring, 0));
		assert_int_equal(ring_pending(kernel.ring), 2 * room_of(20));
		assert_int_equal(ring_drain(kernel.ring, 10, take, &taken), 2);
	}
	kernel_close();
}

/* Records and discarded ones of all lengths until it is full, again and again; what was accepted comes out, in order. */
static void test_kernel_random(void **state)
{
	struct random random = { 13 };
	uint8_t firsts[512];
	unsigned n = 0, n_full = 0, next = 0;

	(void)state;
	kernel_open();
	for (unsigned i = 0; i < rounds(20000); i++) {
		struct taken taken = { 0 };
		unsigned max = random_below(&random, 100);

		if (random_below(&random, 10)) {
			size_t size = LEAST + random_below(&random, MOST - LEAST + 1);

			if (run(kernel.output, next, size))
				firsts[n++] = next++;
			else
				n_full++;
			continue;
		}
		run(kernel.discard, 0, 20);
		if (random_below(&random, 4))
			continue;
		taken.refuse_at = random_below(&random, 2) ? random_below(&random, 30) : 0;
		ring_drain(kernel.ring, max, take, &taken);
		assert_memory_equal(taken.first, firsts, taken.n);
		assert_true(taken.n == (max < n ? max : n) || (taken.refuse_at && taken.n == taken.refuse_at - 1));
		memmove(firsts, firsts + taken.n, n - taken.n);
		n -= taken.n;
	}
	assert_true(RUNNING_ON_VALGRIND || n_full);
	assert_in_range(ring_peak(kernel.ring), kernel.size / 2, kernel.size);
	kernel_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_empty, fake_open, fake_close),
		cmocka_unit_test_setup_teardown(test_sizes, fake_open, fake_close),
		cmocka_unit_test_setup_teardown(test_wrap, fake_open, fake_close),
		cmocka_unit_test_setup_teardown(test_max, fake_open, fake_close),
		cmocka_unit_test_setup_teardown(test_busy, fake_open, fake_close),
		cmocka_unit_test_setup_teardown(test_discarded, fake_open, fake_close),
		cmocka_unit_test_setup_teardown(test_refused, fake_open, fake_close),
		cmocka_unit_test_setup_teardown(test_wake, fake_open, fake_close),
		cmocka_unit_test_setup_teardown(test_errors, fake_open, fake_close),
		cmocka_unit_test(test_kernel_wake),
		cmocka_unit_test(test_kernel_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
