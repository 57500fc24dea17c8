/* SPDX-License-Identifier: BSD-2-Clause */
#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../log.h"
#include "../parse.h"
#include "../probe.h"

#define DEFAULT_QUEUE (4 << 20)

static const struct {
	const char *name;
	const struct output_ops *ops;
} kinds[] = {
	{ "stdout", &stdout_ops },
};

static const char *const policies[] = { "block", "drop-oldest", "drop-newest" };

static bool in_list(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (; list; list = strchr(list, '+') ? strchr(list, '+') + 1 : NULL)
		if (strcspn(list, "+") == len && !strncmp(list, name, len))
			return true;
	return false;
}

static int take_probes(struct output_spec *spec, const char *names)
{
	char copy[sizeof(spec->probes)], *rest = copy, *name;

	if (strlen(names) >= sizeof(copy)) {
		log_error("--output: probes=: too long");
		return -EINVAL;
	}
	strcpy(copy, names);
	while ((name = strsep(&rest, "+"))) {
		if (!probe_find(name)) {
			log_error("--output: probes=%s: %s is no probe; `netline list` shows all of them", names, name);
			return -EINVAL;
		}
	}
	strcpy(spec->probes, names);
	return 0;
}

static int take_setting(struct output_spec *spec, const char *key, const char *value)
{
	bool yes = !strcmp(value, "yes");

	if (!strcmp(key, "agent") && (yes || !strcmp(value, "no"))) {
		spec->agent_records = yes;
		return 0;
	}
	if (!strcmp(key, "queue"))
		return parse_size("--output: queue", value, 2 * ARENA_BYTES, 1 << 30, &spec->queue_bytes);
	if (!strcmp(key, "probes"))
		return take_probes(spec, value);
	for (unsigned i = 0; !strcmp(key, "full") && i < sizeof(policies) / sizeof(policies[0]); i++) {
		if (!strcmp(value, policies[i])) {
			spec->full = i;
			return 0;
		}
	}
	log_error("--output: %s=%s: agent=yes|no, full=block|drop-oldest|drop-newest, queue=SIZE or probes=A+B", key, value);
	return -EINVAL;
}

static int parse_spec(const char *text, struct output_spec *ret_spec, const struct output_ops **ret_ops)
{
	char copy[512], *rest = copy, *word, *equals;

	if (strlen(text) >= sizeof(copy)) {
		log_error("--output: at most %zu bytes", sizeof(copy) - 1);
		return -EINVAL;
	}
	strcpy(copy, text);
	word = strsep(&rest, ",");
	*ret_ops = NULL;
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(word, kinds[i].name))
			*ret_ops = kinds[i].ops;
	if (!*ret_ops) {
		log_error("--output %s: no such output; records go to `stdout`, which a shell redirects into a file", word);
		return -EINVAL;
	}
	*ret_spec = (struct output_spec){ .full = (*ret_ops)->full, .queue_bytes = DEFAULT_QUEUE };
	while ((word = strsep(&rest, ","))) {
		equals = strchr(word, '=');
		if (equals)
			*equals = 0;
		if (take_setting(ret_spec, word, equals ? equals + 1 : ""))
			return -EINVAL;
	}
	return 0;
}

int output_check(const char *spec)
{
	const struct output_ops *ops;
	struct output_spec parsed;

	return parse_spec(spec, &parsed, &ops);
}

int output_new(uv_loop_t *loop, const char *spec, struct output **ret_output)
{
	struct output *output = calloc(1, sizeof(*output));
	int err;

	if (!output)
		return -ENOMEM;
	output->loop = loop;
	err = parse_spec(spec, &output->spec, &output->ops);
	snprintf(output->name, sizeof(output->name), "%.*s", (int)strcspn(spec, ","), spec);
	if (!err)
		err = output->ops->open(output);
	if (err) {
		free(output);
		return err;
	}
	output->state = OUTPUT_OPEN;
	*ret_output = output;
	return 0;
}

bool output_wants_probe(const struct output *output, const char *probe)
{
	return !output->spec.probes[0] || in_list(output->spec.probes, probe);
}

static bool is_full(const struct output *output)
{
	return output->waiting_bytes >= output->spec.queue_bytes;
}

bool output_blocks(const struct output *output)
{
	return output->spec.full == FULL_BLOCK && output->state != OUTPUT_CLOSED && is_full(output);
}

bool output_idle(const struct output *output)
{
	return !output->n_waiting && !output->n_writing;
}

static int grow(struct output *output)
{
	unsigned room = output->room ? 2 * output->room : 256;
	struct queued_record *queue = malloc(room * sizeof(*queue));

	if (!queue)
		return -ENOMEM;
	for (unsigned i = 0; i < output->n_waiting; i++)
		queue[i] = output->queue[(output->head + i) & (output->room - 1)];
	free(output->queue);
	output->queue = queue;
	output->room = room;
	output->head = 0;
	return 0;
}

static struct queued_record pop(struct output *output)
{
	struct queued_record record = output->queue[output->head];

	output->head = (output->head + 1) & (output->room - 1);
	output->n_waiting--;
	output->waiting_bytes -= record.length;
	return record;
}

static void lose(struct output *output, uint8_t dataset, enum lost_reason reason)
{
	output->lost++;
	output->lost_by[reason][dataset]++;
}

static void lose_oldest(struct output *output, enum lost_reason reason)
{
	struct queued_record oldest = pop(output);

	lose(output, oldest.dataset, reason);
	arena_drop(oldest.arena);
}

static void discard(struct output *output, enum lost_reason reason)
{
	while (output->n_waiting)
		lose_oldest(output, reason);
}

void output_free(struct output *output)
{
	if (!output)
		return;
	discard(output, LOST_SHUTDOWN);
	if (output->state != OUTPUT_CLOSED)
		output->ops->close(output);
	free(output->queue);
	free(output);
}

void output_abandon(struct output *output)
{
	for (unsigned i = 0; i < output->n_writing; i++)
		lose(output, output->writing[i].dataset, LOST_SHUTDOWN);
	output->n_writing = 0;
	discard(output, LOST_SHUTDOWN);
}

/* A blocking output takes what comes beside the rings (agent records) even when it is full. */
void output_push(struct output *output, struct arena *arena, uint32_t offset, uint16_t length, uint8_t dataset)
{
	output->emitted++;
	if (output->state == OUTPUT_CLOSED) {
		lose(output, dataset, LOST_WRITE_ERROR);
		return;
	}
	while (is_full(output) && output->spec.full == FULL_DROP_OLDEST)
		lose_oldest(output, LOST_QUEUE_FULL);
	if ((is_full(output) && output->spec.full == FULL_DROP_NEWEST) || (output->n_waiting == output->room && grow(output))) {
		lose(output, dataset, LOST_QUEUE_FULL);
		return;
	}
	arena_hold(arena);
	output->queue[(output->head + output->n_waiting++) & (output->room - 1)] =
		(struct queued_record){ .arena = arena, .offset = offset, .length = length, .dataset = dataset };
	output->waiting_bytes += length;
}

/* Adds a record to the batch, joined to the last piece where they touch; false if there is no room. */
static bool add_to_batch(struct output *output, const struct queued_record *record)
{
	struct iovec *last = output->n_batch ? &output->batch[output->n_batch - 1] : NULL;
	char *at = record->arena->data + record->offset;

	if (output->n_writing == OUTPUT_BATCH_RECORDS)
		return false;
	if (last && (char *)last->iov_base + last->iov_len == at) {
		last->iov_len += record->length;
	} else {
		if (output->n_batch == OUTPUT_BATCH_IOVS)
			return false;
		output->batch[output->n_batch++] = (struct iovec){ .iov_base = at, .iov_len = record->length };
	}
	output->writing[output->n_writing++] = *record;
	return true;
}

void output_flush(struct output *output)
{
	if (output->n_writing || !output->n_waiting || output->state != OUTPUT_OPEN)
		return;
	output->n_batch = 0;
	while (output->n_waiting && add_to_batch(output, &output->queue[output->head]))
		pop(output);
	output->ops->write(output);
}

void output_written(struct output *output, size_t bytes, int error)
{
	size_t at = 0;

	for (unsigned i = 0; i < output->n_writing; i++) {
		const struct queued_record *record = &output->writing[i];

		at += record->length;
		if (at <= bytes)
			output->delivered++;
		else
			lose(output, record->dataset, error == -ENOSPC ? LOST_DISK_FULL : LOST_WRITE_ERROR);
		arena_drop(record->arena);
	}
	output->n_writing = 0;
	output->bytes += bytes;
	if (error) {
		output->error = error;
		output->state = OUTPUT_CLOSED;
		output->ops->close(output);
		discard(output, error == -ENOSPC ? LOST_DISK_FULL : LOST_WRITE_ERROR);
	}
	output->on_progress(output, output->context);
}
