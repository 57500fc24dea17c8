/* SPDX-License-Identifier: BSD-2-Clause */
#include "generate.h"

#include <ctype.h>
#include <string.h>

void roff_text(FILE *out, const char *text)
{
	static const char *const escapes[128] = {
		['\\'] = "\\e", ['-'] = "\\-", ['~'] = "\\(ti", ['^'] = "\\(ha", ['"'] = "\\(dq",
	};
	bool bold = false;

	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text; text++) {
		const char *escape = (unsigned char)*text < 128 ? escapes[(unsigned char)*text] : NULL;

		if (*text == '`')
			fputs((bold = !bold) ? "\\fB" : "\\fR", out);
		else if (!strncmp(text, ". ", 2) && isupper((unsigned char)text[2]))	/* roff knows the end of a sentence by the end of its line */
			fputs(".\n", out), text++;
		else if (escape)
			fputs(escape, out);
		else
			putc(*text, out);
	}
}

/* "NAME[,...]": what stands for something else is italic, what is typed as it is bold. */
static void argument_print(FILE *out, const char *argument)
{
	char font = 'R';

	for (; *argument; argument++) {
		char wanted = isupper((unsigned char)*argument) ? 'I' : islower((unsigned char)*argument) || (*argument == '-' && font == 'B') ? 'B' : 'R';

		if (wanted != font)
			fprintf(out, "\\f%c", font = wanted);
		fprintf(out, *argument == '-' ? "\\-" : "%c", *argument);
	}
	if (font != 'R')
		fputs("\\fR", out);
}

/* Help begins in lower case; a name (host.name, tcp_inerrs) stays as it is. */
static void sentence_print(FILE *out, const char *text)
{
	size_t len = strcspn(text, " ,:;");
	bool word = islower((unsigned char)text[0]);

	for (size_t i = 0; i < len; i++)
		word = word && isalpha((unsigned char)text[i]);
	if (word)
		putc(toupper((unsigned char)*text++), out);
	roff_text(out, text);
	fputs(".\n", out);
}

/* The probes that can apply a filter. */
static void probes_print(FILE *out, const struct option_row *row)
{
	const char *before = "Probes: ";

	for (unsigned i = 0; i < n_probes; i++) {
		if (probes[i]->filters & row->filter) {
			fprintf(out, "%s\\fB%s\\fR", before, probes[i]->name);
			before = ", ";
		}
	}
	fputs(".\n", out);
}

static void option_print(FILE *out, const struct option_row *row)
{
	fputs(".TP\n", out);
	if (row->letters)
		fprintf(out, "\\fB\\-%s\\fR, ", row->letters + 1);
	else if (row->letter)
		fprintf(out, "\\fB\\-%c\\fR, ", row->letter);
	fputs("\\fB", out);
	roff_text(out, "--");
	roff_text(out, row->name);
	fputs("\\fR", out);
	if (row->argument) {
		fputs(row->argument[0] == '[' ? "" : " ", out);
		argument_print(out, row->argument);
	}
	putc('\n', out);
	sentence_print(out, row->help);
	if (row->more) {
		roff_text(out, row->more);
		putc('\n', out);
	}
	if (row->filter)
		probes_print(out, row);
}

static void options_print(FILE *out, enum option_scope scope, bool filters)
{
	for (unsigned i = 0; i < n_options; i++)
		if (option_rows[i].scope == scope && !!option_rows[i].filter == filters)
			option_print(out, &option_rows[i]);
}

void man_filters(FILE *out)
{
	options_print(out, OF_PROBE, true);
}

void man_probe_options(FILE *out)
{
	options_print(out, OF_PROBE, false);
}

void man_run_options(FILE *out)
{
	options_print(out, OF_AGENT, false);
}

void man_command_options(FILE *out)
{
	options_print(out, OF_COMMAND, false);
}

void man_probes(FILE *out)
{
	for (unsigned i = 0; i < n_probes; i++) {
		fprintf(out, ".TP\n.B %s\n", probes[i]->name);
		sentence_print(out, probes[i]->summary);
		if (!probes[i]->by_default)
			fputs("Not in the default set.\n", out);
	}
}

static void setting_print(FILE *out, const struct spec_setting *setting)
{
	fputs(".TP\n\\fB", out);
	roff_text(out, setting->name);
	fputs("\\fR=", out);
	argument_print(out, setting->value);
	putc('\n', out);
	sentence_print(out, setting->meaning);
	if (setting->kinds == (1u << SPEC_KINDS) - 1)
		return;
	for (unsigned kind = 0; kind < SPEC_KINDS; kind++) {
		if (setting->kinds & 1u << kind) {
			fputs("Of \\fB", out);
			roff_text(out, spec_kinds[kind]);
			fputs("\\fR only.\n", out);
		}
	}
}

void man_settings(FILE *out)
{
	for (unsigned i = 0; i < n_spec_settings; i++)
		setting_print(out, &spec_settings[i]);
}
