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

# For answers at the end of an input. None holds more than its answer needs.

# From a stream of [key, numbers], both arrays, the sums of the numbers for each
# key: an array of key + sums, in the order of keys.
# One flat object, since jq 1.6 copies what lies within another for each change.
def sums(stream):
  reduce (stream | [(.[0] | tojson), .[1]]) as [$key, $new]
    ({}; .[$key] as $old | setpath([$key]; [$old // [], $new] | transpose | map(add)))
  | to_entries | map((.key | fromjson) + .value) | sort;

# The $n values of a stream with the largest f, the largest first.
def top($n; stream; f): reduce stream as $new ([]; . + [$new] | sort_by(-f)[:$n]);

# A percentile by nearest rank: the smallest value with at least so many at or below
# it. From an array of [value, how many], in the order of values; null if it is empty.
def percentile($p):
  ((map(.[1]) | add // 0) * $p) as $rank
  | first((foreach .[] as [$value, $count] (0; . + $count; select(. * 100 >= $rank) | $value)), null);

# For tables.

# Nanoseconds as microseconds with one decimal; - if they are unknown.
def us: if . == null then "-" else . / 100 | round | "\(. / 10 | floor).\(. % 10)" end;

# A string as one word: each control or format character is ?, each space _;
# an empty or unknown (null) name is -.
def word:
  if (. // "") == "" then "-"
  else gsub("[\\p{Cc}\\p{Cf}]"; "?") | gsub("[[:space:]]"; "_") end;

# A string or number as a left-aligned column: never cut, one space at least.
def column($width): tostring | . + " " * ([$width - length, 1] | max);
