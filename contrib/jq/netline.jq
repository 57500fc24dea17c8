# SPDX-License-Identifier: BSD-2-Clause
# netline.jq: functions over netline's records, for jq 1.6 and later.
#
#   netline | jq --unbuffered -L contrib/jq 'include "netline";
#       dataset("tcp_connection") | [clock, local.ip, remote.ip, remote.port]'
#
# or `import "netline" as n;` and n::clock. Each takes one record unless it says
# otherwise. `jq --unbuffered` flushes every line: without it jq writes to a pipe
# or a file only when 4 KiB have gathered.

# The record itself if it is a netline.$name, nothing if it is any other input.
def dataset($name): select(.event?.dataset? == "netline." + $name);

# The name of our side. source is the initiator of a connection and the sender
# of a packet; of a connection whose role is unknown, source is ours.
def local_side:
  if .netline.role // .network.direction | IN("server", "ingress")
  then "destination" else "source" end;

# One side as {ip, port}, without the keys that are unknown, or null if the
# record has no such side.
def endpoint($side):
  .[$side] | if . then with_entries(select(.key | IN("ip", "port"))) else . end;

# An address beside a port: that of IPv6 stands in brackets.
def bracketed: if contains(":") then "[\(.)]" else . end;

# Our side as {ip, port}, and the other side.
def local: endpoint(local_side);
def remote: endpoint(if local_side == "source" then "destination" else "source" end);

# @timestamp as seconds since 1970 with their fraction. A double holds it to
# the microsecond: compare the strings where the nanoseconds count.
# Reckoned here, because fromdateiso8601 refuses a fraction, and in jq 1.6 is an
# hour out when $TZ has summer time.
def ts:
  [."@timestamp" | scan("[0-9.]+") | tonumber] as [$year, $month, $day, $h, $m, $s]
  # Years from March on, so that the leap day comes last.
  | (if $month > 2 then [$year, $month] else [$year - 1, $month + 12] end) as [$y, $mon]
  | (365 * $y + ($y / 4 | floor) - ($y / 100 | floor) + ($y / 400 | floor)
     + ((153 * $mon - 457) / 5 | floor) + $day - 719469) * 86400
    + $h * 3600 + $m * 60 + $s;

# The time of day of @timestamp, HH:MM:SS in UTC.
def clock: ."@timestamp"[11:19];

# For tables.

# A string as one word: each control or format character is ?, each space _;
# an empty or unknown (null) name is -.
def word:
  if (. // "") == "" then "-"
  else gsub("[\\p{Cc}\\p{Cf}]"; "?") | gsub("[[:space:]]"; "_") end;

# A string or number as a left-aligned column: never cut, one space at least.
def column($width): tostring | . + " " * ([$width - length, 1] | max);
