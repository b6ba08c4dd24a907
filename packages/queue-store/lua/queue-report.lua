#!lua
--[[
  queue-report: queue the messages that report, all or none, and mark the report no longer owed, in one act; or only the
  latter, when nobody wants one.

  KEYS[1] record of the message reported, then those of the reports   ARGV prefix, identity, id, claim, kind, counts as
          read, number of reports, then each as include/commit reads it
  Returns queued | stale | expired (content stored ahead of a report is gone). IDENTITY error as commit-messages.
  failure, expired: those that failed are reported (`rr`). expired: the deferred recipients are returned too, and the
  message is finished (`fin`). success: those that were sent are reported (`sr`).
  delay: no recipient's state changes; the record says whether its sender was told (`wd`).
  Loaded twice: with reports it is refused at maxmemory, without one it drains (allow-oom).
  Source: DESIGN §2 "bounce"; spec Q6, S13, D31, queues.md §3.7 a and d.
]]
-- @include base
-- @include indexes
-- @include records
-- @include commit
if call('GET', P .. ':identity') ~= ARGV[2] then
  return redis.error_reply('IDENTITY the store is not the one that this process knows')
end
local id, claim, kind = ARGV[3], ARGV[4], ARGV[5]
local key = record_key(id)
local v = call('HMGET', key, 'bw', 'cl', 'q', 'at', 'ds', 'rr', 'lg', 'sd', 'fl', 'u', 'su', 'sr')
if v[1] ~= kind or v[2] ~= claim then return 'stale' end
if (v[9] or '0') .. ' ' .. (v[10] or '0') .. ' ' .. (v[11] or '0') ~= ARGV[6] then
  -- An outcome came in since it was read: the report would be wrong. A sweep rings for it again.
  call('HDEL', key, 'cl', 'cc')
  return 'stale'
end
cursor = 7
local reports = {}
for i = 1, tonumber(ARGV[7]) do
  reports[i] = read_commit()
  local why_not = why_not_commit(reports[i])
  if why_not then return why_not == 'expired' and 'expired' or 'stale' end
end
for _, report in ipairs(reports) do commit_one(report) end
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
