# SPDX-License-Identifier: BSD-2-Clause
# For an interactive zsh -f: TAB writes what is offered to the file $FOUND, and a line "end".
fpath=(${FILE:h} $fpath)
autoload -Uz compinit
compinit -D -u
compadd() {
	local -a found
	if [[ " $* " != *' -'[AOD]' '* ]]; then
		builtin compadd -A found "$@"
		(($#found)) && print -rl -- $found >> $FOUND
	fi
	builtin compadd "$@"
}
capture() {
	_main_complete
	compstate[insert]= compstate[list]= # nothing is inserted, listed or asked
	print end >> $FOUND
}
zle -C capture complete-word capture
bindkey '^I' capture
PROMPT=
