# SPDX-License-Identifier: BSD-2-Clause
# nic_throughput.jq: the traffic of each NIC's queues as tables, TX and RX.
#
#   netline nic_throughput | jq -nr --unbuffered -f contrib/jq/nic_throughput.jq
#
# A tick is known to be whole when a record of the next arrives, or the input
# ends: on a live stream the tables are one interval behind. avg_size is bytes
# a packet, BPS bytes a second, PPS packets a second. A queue without traffic is
# a row of zeros; a driver that records no queue leaves the total alone; a total
# that was lost on the way is a row of dashes. Other records are passed over. The
# input is one run's: ticks are told apart by their @timestamp. A last line that
# was cut fails (jq's exit status 5), and its tick, which is not whole, is not shown.

include "netline" {search: "./"};

# A number with two decimals.
def decimals:
  . * 100 | round | "\(. / 100 | floor).\(. % 100 + 100 | tostring[1:])";

def row($queue; $avg; $bps; $pps):
  " " + ($queue | column(11)) + ($avg | column(11)) + ($bps | column(11)) + $pps;

# A row from netline.nic of a record; an idle queue has no record.
def row($queue):
  row($queue; .avg_packet_bytes // 0 | decimals;
      .bytes_per_sec // 0 | decimals; .packets_per_sec // 0 | decimals);

# The lines of one direction, from the records of one NIC and tick.
def block($title; $direction):
  map(select(.network.direction == $direction) | .netline.nic)
  | INDEX(.queue // "total") as $nic
  | $title,
    row("QueueID"; "avg_size"; "BPS"; "PPS"),
    # Packets, but no queue has them: the driver does not record it.
    ([(if length > 1 or $nic.total.skbs == 0 then range($nic.total.queues // 0) else empty end),
      (.[].queue // empty)]
     | unique[] | . as $queue | $nic[tostring] | row($queue)),
    ($nic.total | if . then row("Total") else row("Total"; "-"; "-"; "-") end);

# The lines of one tick, from all its records.
def tick:
  (map(.netline.nic.netns) | unique | length > 1) as $several
  | group_by([.netline.nic.netns, .netline.nic.index])[]
  | (.[0] | clock + " " + (.network.interface.name | word)
            + if $several then " netns " + .netline.nic.netns else "" end),
    block("TX"; "egress"),
    block("RX"; "ingress"),
    "";

foreach ((inputs | dataset("nic_throughput")), null) as $record (
  {open: []};
  if $record."@timestamp" == .open[0]."@timestamp" then {open: (.open + [$record])}
  else {open: [$record], whole: .open} end;
  .whole // empty | select(. != []) | tick)
