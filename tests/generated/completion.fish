# SPDX-License-Identifier: BSD-2-Clause
# FILE LINE: what the completion in the file offers at the end of the line.
source $argv[1]
complete -C $argv[2]
