#!lua
--[[
  queue-report: queue a report and mark it no longer owed, in one act; or only the latter, when nobody wants one.

  KEYS[1] record of the message reported, then those of the report   ARGV prefix, identity, id, claim, kind, failed and undone as read, with a report ('1' | ''), the report as include/commit reads it
  Returns queued | stale | expired (its content stored ahead is gone). IDENTITY error as commit-messages.
  expired: the deferred recipients are returned too, and the message is finished (`fin`).
  delay: no recipient's state changes; the record says that it was done (`wd`).
  Loaded twice: with a report it is refused at maxmemory, without one it drains (allow-oom).
  Source: DESIGN §2 "bounce"; spec Q6, S13, queues.md §3.7 a and d.
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
local v = call('HMGET', key, 'bw', 'cl', 'q', 'at', 'ds', 'rr', 'lg', 'sd', 'fl', 'u')
if v[1] ~= kind or v[2] ~= claim then return 'stale' end
if (v[9] or '0') .. ' ' .. (v[10] or '0') ~= ARGV[6] then
  -- An outcome came in since it was read: the report would be wrong. A sweep rings for it again.
  call('HDEL', key, 'cl', 'cc')
  return 'stale'
end
if ARGV[7] == '1' then
  cursor = 7
  local answer = commit_one(read_commit())
  if answer ~= 'stored' then return answer == 'expired' and 'expired' or 'stale' end
end
call('HDEL', key, 'bw', 'cl', 'cc')
if kind == 'delay' then
  call('HSET', key, 'wd', '1')
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
