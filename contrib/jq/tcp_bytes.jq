# SPDX-License-Identifier: BSD-2-Clause
# tcp_bytes.jq: who moved how much over TCP in each interval, the table of tcptop.
#
#   netline tcp_bytes | jq -nr --unbuffered -f contrib/jq/tcp_bytes.jq
#
# SADDR is our side, DADDR the other, whoever connected; RX_KB and TX_KB are KiB
# of payload that our socket received and sent, rounded down. PID and COMM are -
# where the owner is unknown. The time is that of the latest record: as a rule the
# interval's end. A connection without traffic in the interval has no row. Other
# records are passed over. At a last line that was cut jq fails with status 5, and
# its interval, which is not whole, is not shown.
#
# On a live stream the tables are one interval behind. Of connections that close
# while netline still reads the counters of many others, the records, which
# belong to the next interval, come among those: so an interval is whole when a
# record tells of a connection that was open at the end of another, or when the
# second interval after it has begun.

include "netline" {search: "./"};

def right($width): tostring | " " * ([$width - length, 1] | max) + .;

def row($width; $pid; $comm; $saddr; $daddr; $rx; $tx):
  ($pid | column(8)) + ($comm | column(16)) + ($saddr | column($width)) + ($daddr | column($width))
  + ($rx | right(6)) + ($tx | right(7));

def kib: . / 1024 | floor;

def address: (.ip | bracketed) + ":\(.port)";

# The lines of one IP version, from the records of one interval.
def table($type; $width):
  map(select(.network.type == $type))
  | select(. != [])
  | "",
    row($width; "PID"; "COMM"; "SADDR"; "DADDR"; "RX_KB"; "TX_KB"),
    (sort_by(-.network.bytes)[]
     | row($width; .process.pid // "-"; .process.name | word; local | address; remote | address;
           .netline.bytes.received | kib; .netline.bytes.sent | kib));

def interval:
  (max_by(."@timestamp") | clock),
  table("ipv4"; 22),
  table("ipv6"; 33),
  "";

def start: .event.start;

# Whether a record tells that the first of the intervals held is whole.
def completes_first($record):
  (.[0] | start) as $first
  | (.[-1] | start) as $last
  | ($record | start) as $now
  | $now != $first and ($record.netline.connection == "open" or $last != $first and $last != $now);

# Holds the records of intervals that are not whole, as they come. An array that
# grows in place: within an object jq 1.6 would copy it for each record.
foreach ((inputs | dataset("tcp_bytes") | select(.network.bytes > 0)), null) as $record (
  [];
  if type == "object" then .rest else . end
  | if $record == null then {whole: .}
    elif completes_first($record) then
      (.[0] | start) as $first
      | {whole: map(select(start == $first)), rest: (map(select(start != $first)) + [$record])}
    else . + [$record] end;
  objects | .whole | group_by(start)[] | interval)
