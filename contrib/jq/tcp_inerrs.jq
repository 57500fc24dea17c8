# SPDX-License-Identifier: BSD-2-Clause
# tcp_inerrs.jq: bad TCP packets that came in, as a table, one line for each record.
#
#   netline tcp_inerrs | jq -nr --unbuffered -f contrib/jq/tcp_inerrs.jq
#
# SADDR:SPORT is the packet's sender. REASON has the number of packets behind it
# where the record stands for several. What is unknown is -. Other records are
# passed over. At a last line that was cut jq fails with status 5, after the rows
# before it.

include "netline" {search: "./"};

def row($time; $pid; $comm; $ip; $from; $to; $reason; $state):
  ($time | column(9)) + ($pid | column(8)) + ($comm | column(16)) + ($ip | column(3))
  + ($from | column(22)) + "> " + ($to | column(22)) + ($reason | column(20)) + $state;

# A side as ADDRESS:PORT.
def socket($side):
  endpoint($side) | if .ip == null then "-"
  else (.ip | bracketed) + ":\(.port // "-")" end;

row("TIME"; "PID"; "COMM"; "IP"; "SADDR:SPORT"; "DADDR:DPORT"; "REASON"; "STATE"),
(inputs
 | dataset("tcp_inerrs")
 | row(clock; .process.pid // "-"; .process.name | word; .network.type // "-" | ltrimstr("ipv");
       socket("source"); socket("destination");
       .event.reason + (.netline.inerr.count | if . > 1 then "(\(.))" else "" end);
       .netline.tcp.state // "-"))
