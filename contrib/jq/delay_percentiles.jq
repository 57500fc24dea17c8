# SPDX-License-Identifier: BSD-2-Clause
# delay_percentiles.jq: how long TCP packets took in each stage of their way: the
# median and the 99th percentile, per direction and NIC, in microseconds.
#
#   netline --duration 60 delay_analysis_in delay_analysis_out | jq -nr -f contrib/jq/delay_percentiles.jq
#
# The table comes at the end of the input. A percentile is the smallest time with at
# least so many of the packets at or below it: exact from records of packets; from
# those of delay_analysis_summary, whose histograms are added up, the middle of its
# bucket. COUNT is the packets, of those that were sampled. As in the summaries, tcp,
# protocol, socket_wait and total are, of the incoming, of packets that a process has
# read. The namespace is told where there are several. Other records are passed over.
# At a last line that was cut jq fails with status 5, without the table.

include "netline" {search: "./"};

def row($direction; $interface; $stage; $count; $p50; $p99):
  ($direction | column(10)) + ($interface | column(16)) + ($stage | column(12))
  + ($count | column(10)) + ($p50 | column(11)) + $p99;

# [stage, ns, packets], as many as the record tells of.
def times:
  .netline.delay as $delay
  | if $delay.histogram then
      $delay.histogram | [.values, .counts] | transpose[] | [$delay.stage, .[]]
    else
      ($delay | to_entries[] | select(.key | endswith("_ns")) | [.key[:-3], .value, 1]),
      (.event.duration | values | ["total", ., 1])
      | select(($delay.end // "read") == "read" or (.[0] | IN("mac", "ip")))
    end;

# Packets by netns, direction, interface, stage and ns.
sums(inputs | dataset("delay_analysis_" + ("in", "out", "summary"))
     | [.netline.socket.netns, .network.direction, .network.interface.name] as $nic
     | times | [$nic + .[:2], .[2:]])
| (map(.[0]) | unique | length > 1) as $several
| ["mac", "ip", "tcp", "protocol", "socket_wait", "qdisc", "total"] as $stages
| row("DIRECTION"; "INTERFACE"; "STAGE"; "COUNT"; "P50"; "P99"),
  (group_by([.[1], .[2], .[0], (.[3] as $stage | $stages | index($stage))])[]
   | .[0] as [$netns, $direction, $interface, $stage]
   | map(.[4:])
   | row($direction; $interface | word; $stage; map(.[1]) | add; percentile(50) | us;
         percentile(99) | us | if $several then column(11) + "netns " + $netns else . end))
