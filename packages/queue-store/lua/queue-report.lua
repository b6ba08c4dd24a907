#!lua
--[[
  queue-report: queue the messages that report, all or none, and mark the report no longer owed, in one act; or only the
  latter, when nobody wants one. Or a part of them: then the recipients they tell of are marked, and the rest stays owed.

  KEYS[1] record of the message reported, then those of the reports   ARGV prefix, identity, id, claim, kind, counts as
          read, numbers of the recipients that a part tells of ('': these are all that was left), number of reports, then
          each as include/commit reads it
  Returns queued | the counts after a part | stale | expired (content stored ahead of a report is gone). IDENTITY error
          as commit-messages.
  A part: each recipient told of is done, so that the next reader of the message, whoever it is, finds the others only.
  failure, expired: those that failed are reported (`rr`). expired: the deferred recipients are returned too, and the
  message is finished (`fin`). success: those that were sent are reported (`sr`).
  delay: no recipient's state changes; the record says whether its sender was told (`wd`).
  Loaded twice: with reports it is refused at maxmemory, without one it drains (allow-oom).
  Source: DESIGN §2 "bounce"; spec Q6, S13, D31, D33, queues.md §3.7 a and d.
]]
-- @include base
-- @include indexes
-- @include records
-- @include outcomes
-- @include commit
if call('GET', P .. ':identity') ~= ARGV[2] then
  return redis.error_reply('IDENTITY the store is not the one that this process knows')
end
local id, claim, kind = ARGV[3], ARGV[4], ARGV[5]
local key = record_key(id)
local v = call('HMGET', key, 'bw', 'cl', 'q', 'at', 'ds', 'rr', 'lg', 'sd', 'fl', 'u', 'su', 'sr', 'rg')
if v[1] ~= kind or v[2] ~= claim then return 'stale' end
if (v[9] or '0') .. ' ' .. (v[10] or '0') .. ' ' .. (v[11] or '0') ~= ARGV[6] then
  -- An outcome came in since it was read: the report would be wrong. A sweep rings for it again.
  call('HDEL', key, 'cl', 'cc')
  return 'stale'
end
cursor = 8
local reports = {}
for i = 1, tonumber(ARGV[8]) do
  reports[i] = read_commit()
  local why_not = why_not_commit(reports[i])
  if why_not then return why_not == 'expired' and 'expired' or 'stale' end
end
local report_ids = {}
for i, report in ipairs(reports) do
  commit_one(report)
  if i <= 3 then report_ids[i] = report.id end
end
note(fmt('r\t%s\t%d\t%s\t%s', kind, #reports, table.concat(report_ids, ' '), id))
if ARGV[7] ~= '' then
  local failed, undone = 0, {}
  for _, number in ipairs(recipient_numbers(ARGV[7])) do
    local chunk, field = recipient_key(id, number, v[13]), 's' .. digits(number)
    local done, unreported = is_done(call('HGET', chunk, field), v[6])
    if unreported then
      call('HSET', chunk, field, 'd')
      failed = failed + 1
    elseif not done and kind == 'expired' then
      undone[#undone + 1] = { digits(number), 's', '' }
    end
  end
  -- Minus nought is no number to Redis.
  if failed > 0 then call('HINCRBY', key, 'fl', -failed) end
  call_long('HSET', key, record_outcomes(id, undone, read_for_outcomes(id, undone)), 6000)
  flush_indexes()
  local now = call('HMGET', key, 'fl', 'u', 'su')
  return (now[1] or '0') .. ' ' .. (now[2] or '0') .. ' ' .. (now[3] or '0')
end
call('HDEL', key, 'bw', 'cl', 'cc')
if kind == 'delay' then
  call('HSET', key, 'wd', #reports > 0 and '1' or 'n')
elseif kind == 'success' then
  call('HDEL', key, 'su')
  call('HSET', key, 'sr', digits(tonumber(v[12] or '0') + 1))
else
  call('HDEL', key, 'fl')
  call('HSET', key, 'rr', digits(tonumber(v[6] or '0') + 1))
end
call('ZREM', P .. ':owed', id)
if kind == 'expired' then
  if not v[7] then
    for domain, count in string.gmatch(v[5], '([^\n]+)\n(%d+)') do
      leave_domain(v[3], id, domain, tonumber(count))
    end
  end
  call('HSET', key, 'fin', '1', 'u', '0', 'ds', '')
end
if v[3] == 'active' then tell_leader('reported', id) end
flush_indexes()
flush_events()
return 'queued'
