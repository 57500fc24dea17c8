/* SPDX-License-Identifier: BSD-2-Clause */
#include "generate.h"

#include <string.h>

#include "../../agent/agent.h"

/* How each shell's template finds what can be offered. In bash, $1 is the argument so far. */
static const struct {
	const char *bash, *zsh, *fish;
} offers[] = {
	[OFFER_NOTHING] = { "", "", "" },
	[OFFER_NICS] = { "_netline_pieces \"$1\" $(_netline_nics)", "_netline_nics", "(__netline_nics)" },
	[OFFER_PIDS] = { "_netline_pieces \"$1\" $(_netline_pids)", "_netline_pids", "(__netline_pids)" },
	[OFFER_USERS] = { "_netline_offer '' \"$1\" $(compgen -A user)", "_users", "(__fish_complete_users)" },
	[OFFER_FILES] = { "_netline_paths '' \"$1\" file", "_files", NULL },
	[OFFER_FOLDERS] = { "_netline_paths '' \"$1\" directory", "_files -/", "(__fish_complete_directories)" },
	[OFFER_CGROUPS] = { "_netline_paths '' \"${1:-/sys/fs/cgroup/}\" directory", "_netline_cgroups", "(__netline_cgroups)" },
	[OFFER_OUTPUTS] = { "_netline_output \"$1\"", "_netline_output", "(__netline_output)" },
};

/* Text within single quotes. zsh: in brackets of _arguments, or before the colon of _describe. */
static void quoted_print(FILE *out, const char *text, const char *quote, const char *special)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs(quote, out);
		else
			fprintf(out, strchr(special, *text) ? "\\%c" : "%c", *text);
	}
}

/* "a|b|c", or names of probes for "A+B"; nothing for other arguments. */
static void choices_print(FILE *out, const char *argument)
{
	if (strchr(argument, '+'))
		words_probes(out);
	else
		for (; *argument; argument++)
			putc(*argument == '|' ? ' ' : *argument, out);
}

static bool takes_argument(const struct option_row *row)
{
	return row->argument && row->argument[0] != '[';
}

static bool may_repeat(const struct option_row *row)
{
	return option_is_list(row) || row->type == TYPE_TEXTS || row->type == TYPE_LABELS;
}

/* "-n", "-sp" or nothing. */
static const char *short_name(const struct option_row *row, char ret_name[3])
{
	snprintf(ret_name, 3, "%c%c", row->letter ? '-' : 0, row->letter);
	return row->letters ?: ret_name;
}

void words_options(FILE *out)
{
	char name[3];

	for (unsigned i = 0; i < n_options; i++) {
		const char *letter = short_name(&option_rows[i], name);

		fprintf(out, "%s%s%s--%s", i ? " " : "", letter, *letter ? " " : "", option_rows[i].name);
	}
}

void words_probes(FILE *out)
{
	for (unsigned i = 0; i < n_probes; i++)
		fprintf(out, "%s%s", i ? " " : "", probes[i]->name);
}

void words_records(FILE *out)
{
	const struct record *records[MAX_RECORDS];
	unsigned n = agent_record_types(records);

	for (unsigned i = 0; i < n; i++)
		fprintf(out, "%s%s", i ? " " : "", records[i]->name);
}

void words_kinds(FILE *out)
{
	for (unsigned kind = 0; kind < SPEC_KINDS; kind++)
		fprintf(out, "%s%s%s", kind ? " " : "", spec_kinds[kind], kind == SPEC_STDOUT ? "" : ":");
}

void bash_arguments(FILE *out)
{
	char name[3];

	for (unsigned i = 0; i < n_options; i++) {
		const struct option_row *row = &option_rows[i];
		const char *letter = short_name(row, name);

		if (!takes_argument(row))
			continue;
		fprintf(out, "\t%s%s--%s) ", letter, *letter ? " | " : "", row->name);
		if (option_is_one_of(row)) {
			fputs("_netline_offer '' \"$1\" ", out);
			choices_print(out, row->argument);
		} else {
			fputs(offers[row->offer].bash, out);
		}
		fputs(" ;;\n", out);
	}
}

/* For each kind of output a case with the names of its settings: `head`, the kind, `middle`, the names, `tail`. */
static void settings_print(FILE *out, const char *head, const char *middle, const char *tail)
{
	for (unsigned kind = 0; kind < SPEC_KINDS; kind++) {
		fprintf(out, "\t%s%s%s", head, spec_kinds[kind], middle);
		for (unsigned i = 0; i < n_spec_settings; i++)
			if (spec_settings[i].kinds & 1u << kind)
				fprintf(out, " %s=", spec_settings[i].name);
		fputs(tail, out);
	}
}

/* The same with the values of settings that have words for them. */
static void values_print(FILE *out, const char *head, const char *middle, const char *tail)
{
	for (unsigned i = 0; i < n_spec_settings; i++) {
		if (!strpbrk(spec_settings[i].value, "|+"))
			continue;
		fprintf(out, "\t%s%s%s ", head, spec_settings[i].name, middle);
		choices_print(out, spec_settings[i].value);
		fputs(tail, out);
	}
}

void case_settings(FILE *out)
{
	settings_print(out, "", ") echo", " ;;\n");
}

void case_values(FILE *out)
{
	values_print(out, "", ") echo", " ;;\n");
}

/* One form of an option: '(-i --interval)-i+[help]:SEC:ACTION' */
static void zsh_form(FILE *out, const struct option_row *row, const char *letter, const char *form, const char *joint)
{
	if (may_repeat(row))
		fputs("\t'*", out);
	else
		fprintf(out, "\t'(%s%s--%s)", letter, *letter ? " " : "", row->name);
	fprintf(out, "%s%s[", form, joint);
	quoted_print(out, row->help, "'\\''", "[]\\");
	putc(']', out);
	if (row->argument) {
		fputs(takes_argument(row) ? ":" : "::", out);
		quoted_print(out, row->argument, "'\\''", ":\\");
		putc(':', out);
		if (option_is_one_of(row)) {
			putc('(', out);
			choices_print(out, row->argument);
			putc(')', out);
		} else {
			fputs(offers[row->offer].zsh, out);
		}
	}
	fputs("'\n", out);
}

void zsh_options(FILE *out)
{
	char name[3], whole[64];

	for (unsigned i = 0; i < n_options; i++) {
		const struct option_row *row = &option_rows[i];
		const char *letter = short_name(row, name);

		if (*letter)
			zsh_form(out, row, letter, letter, !row->argument ? "" : row->letters ? "" : takes_argument(row) ? "+" : "-");
		snprintf(whole, sizeof(whole), "--%s", row->name);
		zsh_form(out, row, letter, whole, !row->argument ? "" : takes_argument(row) ? "=" : "=-");
	}
}

void zsh_probes(FILE *out)
{
	for (unsigned i = 0; i < n_probes; i++) {
		fprintf(out, "\t\t'%s:", probes[i]->name);
		quoted_print(out, probes[i]->summary, "'\\''", "\\");
		fputs("'\n", out);
	}
}

static void fish_option(FILE *out, const struct option_row *row)
{
	fputs("complete -c netline", out);
	if (row->letters)
		fprintf(out, " -o %s", row->letters + 1);
	if (row->letter)
		fprintf(out, " -s %c", row->letter);
	fprintf(out, " -l %s", row->name);
	if (takes_argument(row)) {
		const char *offer = offers[row->offer].fish;

		fputs(offer ? " -x" : " -r -F", out);
		if (option_is_one_of(row) || (offer && *offer)) {
			fputs(" -a '", out);
			option_is_one_of(row) ? choices_print(out, row->argument) : (void)fputs(offer, out);
			putc('\'', out);
		}
	}
	fputs(" -d '", out);
	quoted_print(out, row->help, "\\'", "\\");
	fputs("'\n", out);
}

void fish_options(FILE *out)
{
	for (unsigned i = 0; i < n_options; i++)
		fish_option(out, &option_rows[i]);
}

void fish_probes(FILE *out)
{
	for (unsigned i = 0; i < n_probes; i++) {
		fprintf(out, "complete -c netline -n __netline_takes_probes -a %s -d '", probes[i]->name);
		quoted_print(out, probes[i]->summary, "\\'", "\\");
		fputs("'\n", out);
	}
}

void fish_settings(FILE *out)
{
	settings_print(out, "case ", "\n\t\tprintf '%s\\n'", "\n");
}

void fish_values(FILE *out)
{
	values_print(out, "case ", "\n\t\tprintf '%s\\n'", "\n");
}
