# SPDX-License-Identifier: BSD-2-Clause
# accept_queue.jq: how long connections waited in the accept queue, per listening port.
#
#   netline --duration 60 tcp_connection | jq -nr -f contrib/jq/accept_queue.jq
#
# The table comes at the end of the input. ACCEPTED are those that a process took;
# P50, P99 and MAX are their waits in microseconds, as far as they are known: MAX
# exact, the percentiles (nearest rank) with their first three digits, so that the
# memory is bounded. CLOSED were closed in the queue before a process took them,
# PENDING still there when netline stopped. The namespace is told where there are
# several. Other records are passed over. At a last line that was cut jq fails with
# status 5, without the table.

include "netline" {search: "./"};

def row($port; $accepted; $p50; $p99; $max; $closed; $pending):
  ($port | column(6)) + ($accepted | column(9)) + ($p50 | column(11)) + ($p99 | column(11)) + ($max | column(11))
  + ($closed | column(7)) + $pending;

# An integer, with zeros after its first three digits.
def three_digits:
  pow(10; tostring | length - 3) as $unit | if $unit > 1 then . / $unit | floor * $unit else . end;

# [connections, the longest wait] by netns, port, state and the wait's first digits.
reduce (inputs | dataset("tcp_connection") | select(.netline.accept)
        | .netline.accept as $accept | ($accept.wait_ns | values |= three_digits) as $wait
        | {key: ([.netline.socket.netns, local.port, $accept.state, $wait] | tojson), ns: $accept.wait_ns}) as $new
  ({}; .[$new.key] as [$n, $max] | setpath([$new.key]; [$n + 1, ([$max, $new.ns] | max)]))
| to_entries | map((.key | fromjson) + .value)
| (map(.[0]) | unique | length > 1) as $several
| def connections($state): map(select(.[2] == $state) | .[4]) | add // 0;
  row("PORT"; "ACCEPTED"; "P50"; "P99"; "MAX"; "CLOSED"; "PENDING"),
  (group_by([.[1], .[0]])[]
   | (.[0] | .[0]) as $netns
   | (map(select(.[2] == "accepted" and .[3] != null)) | sort_by(.[3])) as $waits
   | ($waits | map(.[3:5])) as $counts
   | row(.[0][1]; connections("accepted"); $counts | percentile(50) | us; $counts | percentile(99) | us;
         $waits | map(.[5]) | max | us; connections("closed");
         connections("pending") | if $several then column(8) + "netns " + $netns else tostring end))
