# SPDX-License-Identifier: BSD-2-Clause
# delay_analysis_out.jq: the way of sent TCP packets as a table, one line for each.
#
#   netline delay_analysis_out | jq -nr --unbuffered -f contrib/jq/delay_analysis_out.jq
#
# SADDR:SPORT is our side, NAT:PORT the source with which the packet leaves: the
# same one where no NAT has changed it. TIME is when the driver got the packet;
# TOTAL, QDisc, IP and TCP are microseconds, - where the stage is unknown. Other
# records are passed over. At a last line that was cut jq fails with status 5, after
# the rows before it.

include "netline" {search: "./"};

def row($from; $nat; $to; $seq; $ack; $time; $total; $qdisc; $ip; $tcp):
  ($from | column(22)) + "-> " + ($nat | column(22)) + "-> " + ($to | column(22))
  + ($seq | column(11)) + ($ack | column(11)) + ($time | column(9)) + ($total | column(10))
  + ($qdisc | column(10)) + ($ip | column(10)) + $tcp;

def address: (.ip | bracketed) + ":\(.port)";

row("SADDR:SPORT"; "NAT:PORT"; "DADDR:DPORT"; "SEQ"; "ACK"; "TIME"; "TOTAL"; "QDisc"; "IP"; "TCP"),
(inputs
 | dataset("delay_analysis_out")
 | .netline.delay as $delay
 | row(.source | address; .source | {ip, port} + .nat | address; .destination | address;
       .netline.tcp.seq; .netline.tcp.ack; clock;
       .event.duration | us; $delay.qdisc_ns | us; $delay.ip_ns | us; $delay.tcp_ns | us))
