#!lua flags=allow-oom
--[[
  flush-site: messages of deferred with undone recipients in a domain go to incoming, in steps.

  KEYS[1] index of deferred: of the domain, or of messages of very many domains
  ARGV prefix, cursor ('' at first), begun ms ('' at first), most messages, the domain if the index doesn't tell it or ''
  Returns {moved, next cursor or '', begun ms}
  The first step tells the leader to lift its throttles. Messages that come back to deferred after it began are left
  there: so it ends. Safe to repeat.
  Source: spec scheduling.md §11; flush(8).
]]
-- @include base
-- @include indexes
-- @include records
-- @include surplus
-- @include paging
-- @include flush
because('flush')
local domain = ARGV[5]
local begun = tonumber(ARGV[3])
if not begun then
  begun = now_ms
  tell_leader('unthrottle')
  -- For a leader that is not there yet: dead marks from before are not taken up.
  call('SET', P .. ':unthrottled', digits(now_ms), 'EX', 86400)
end
local function is_wanted(id, v)
  if v.err or (tonumber(v[8]) or 0) > begun then return false end
  if domain == '' then return true end
  return (tonumber(call('HGET', domains_key(id, v[9]), domain)) or 0) > 0
end
local ids, next_cursor = read_page(KEYS[1], ARGV[2], tonumber(ARGV[4]))
local moved = 0
for _, id in ipairs(ids) do
  local v = read_for_flush(id)
  if is_wanted(id, v) and flush_message(id, v) then moved = moved + 1 end
end
flush_indexes()
flush_events()
return { moved, next_cursor, digits(begun) }
