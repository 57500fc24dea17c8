# SPDX-License-Identifier: BSD-2-Clause
# tcp_connection.jq: established TCP connections as a table, one line for each.
#
#   netline tcp_connection | jq -nr --unbuffered -f contrib/jq/tcp_connection.jq
#
# SADDR and SPORT are our side, DADDR and DPORT the other, whoever connected.
# PID and COMM are - where the owner is unknown. Other records are passed over.
# At a last line that was cut jq fails with status 5, after the rows before it.

include "netline" {search: "./"};

def row($time; $pid; $comm; $ip; $daddr; $dport; $saddr; $sport; $direction):
  ($time | column(9)) + ($pid | column(8)) + ($comm | column(16)) + ($ip | column(3))
  + ($daddr | column(16)) + ($dport | column(6)) + ($saddr | column(16)) + ($sport | column(6))
  + $direction;

row("TIME"; "PID"; "COMM"; "IP"; "DADDR"; "DPORT"; "SADDR"; "SPORT"; "DIRECTION"),
(inputs
 | dataset("tcp_connection")
 | select(.event.outcome == "success")
 | row(clock; .process.pid // "-"; .process.name | word; .network.type | ltrimstr("ipv");
       remote.ip; remote.port; local.ip; local.port; .event.action | ltrimstr("tcp-")))
