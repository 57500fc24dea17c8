# SPDX-License-Identifier: BSD-2-Clause
# delay_analysis_in.jq: the way of received TCP packets as a table, one line for each.
#
#   netline delay_analysis_in | jq -nr --unbuffered -f contrib/jq/delay_analysis_in.jq
#
# SADDR:SPORT is the packet's sender. TIME is when its way ended; TOTAL, MAC, IP
# and TCP are microseconds, - where the stage is unknown. Other records are passed
# over. At a last line that was cut jq fails with status 5, after the rows before it.

include "netline" {search: "./"};

def row($from; $to; $seq; $ack; $time; $total; $mac; $ip; $tcp):
  ($from | column(22)) + "-> " + ($to | column(22)) + ($seq | column(11)) + ($ack | column(11))
  + ($time | column(9)) + ($total | column(10)) + ($mac | column(10)) + ($ip | column(10)) + $tcp;

def address: (.ip | bracketed) + ":\(.port)";

row("SADDR:SPORT"; "DADDR:DPORT"; "SEQ"; "ACK"; "TIME"; "TOTAL"; "MAC"; "IP"; "TCP"),
(inputs
 | dataset("delay_analysis_in")
 | .netline.delay as $delay
 | row(.source | address; .destination | address; .netline.tcp.seq; .netline.tcp.ack; clock;
       .event.duration | us; $delay.mac_ns | us; $delay.ip_ns | us; $delay.tcp_ns | us))
