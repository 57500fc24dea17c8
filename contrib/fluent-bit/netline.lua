-- SPDX-License-Identifier: BSD-2-Clause
-- A line of netline, as text: its time becomes the event's, to the nanosecond, and its _id stands in event.id.
-- Only text is changed: what Fluent Bit makes of a record as a Lua table has numbers as doubles, which end at 2^53.

local line_of = '^{"@timestamp":"(%d+)%-(%d+)%-(%d+)T(%d+):(%d+):(%d+)%.(%d+)Z",(.*)$'

local function days_since_1970(year, month, day)
    if month < 3 then
        year, month = year - 1, month + 12
    end
    return 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
        + math.floor((153 * month - 457) / 5) + day - 719469
end

function netline(tag, time, record)
    local year, month, day, hour, minute, second, nanosecond, rest = record.log:match(line_of)
    local dataset, sequence = record.log:match('"dataset":"([%w_.]+)".-"sequence":(%d+)')
    local run = record.log:match('"agent":{"type":"netline","ephemeral_id":"(%x+)"')
    if not (rest and dataset and run) then
        io.stderr:write("netline.lua: no record of netline, left out: ", record.log, "\n")
        return -1, time, record
    end
    local seconds = days_since_1970(tonumber(year), tonumber(month), tonumber(day)) * 86400 + hour * 3600 + minute * 60 + second
    local id = run .. "-" .. dataset .. "-" .. sequence
    record.log = "{" .. rest:gsub('"event":{', '"event":{"id":"' .. id .. '",', 1)
    return 1, { sec = seconds, nsec = tonumber(nanosecond) }, record
end
