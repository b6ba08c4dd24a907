#!lua flags=allow-oom
--[[
  reopen-active: a new leader puts what was active back to incoming, some at a time (Q13).

  KEYS[1] index of active   ARGV prefix, fence, most messages, the fence under which the caller itself led last
  Returns how many were moved; 0 when none is left | FENCED error
  Requests that nobody claimed are dropped; claimed ones stay in the record and are adopted at import. Messages that
  a dead leader had just opened count one crash each. Safe to repeat.
  Source: spec Q13; DESIGN §4 "At take-over".
]]
-- @include base
-- @include fence
-- @include indexes
-- @include records
-- @include corrupt
-- @include opening
because('take-over')
count_opening(ARGV[4])
local ids = call('ZRANGE', KEYS[1], 0, tonumber(ARGV[3]) - 1)
for _, id in ipairs(ids) do
  local key = record_key(id)
  local v = redis.pcall('HMGET', key, 'q', 'g', 'at', 'sd', 'ds', 'lg', 'o')
  if v.err or v[1] ~= 'active' or not (tonumber(v[2]) and tonumber(v[3]) and v[4] and v[5]) then
    park_corrupt(id, 'unreadable record', '')
  else
    local kept = {}
    for number in string.gmatch(v[7] or '', '%d+') do
      local request = parse_request(call('HGET', key, 'R' .. number) or '')
      if request and request.state ~= 'q' then
        kept[#kept + 1] = number
      else
        call('HDEL', key, 'R' .. number)
      end
    end
    if v[7] then call('HSET', key, 'o', table.concat(kept, ' ')) end
    -- A report that is owed is asked for anew by the next settling; bounce finds the old one stale.
    call('HDEL', key, 'bw')
    call('ZREM', P .. ':owed', id)
    leave_queue('active', id, v[4], v[5], v[6])
    enter_queue('incoming', id, v[3], v[4], v[5], v[6])
    call('HSET', key, 'q', 'incoming', 'g', digits(tonumber(v[2]) + 1), 'qe', digits(now_ms))
  end
end
flush_indexes()
return #ids
