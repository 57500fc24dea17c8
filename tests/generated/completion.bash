# SPDX-License-Identifier: BSD-2-Clause
# FILE LINE: what the completion in the file offers at the end of the line.
source "$1"
COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
_netline
printf '%s\n' "${COMPREPLY[@]}"
