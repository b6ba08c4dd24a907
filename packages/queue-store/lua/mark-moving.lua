#!lua flags=allow-oom
--[[
  mark-moving: take messages out of their queues, to be copied elsewhere as they stand now.

  KEYS  records   ARGV prefix, where to, then per message: id, version as read ('': whatever it is), name of the move
  Returns, per message: marked | changed (it moved, is gone, is no longer what was read, or is damaged) | claimed (somebody
          is at work on it)
  A message that is away is in no queue; it is dropped (drop-moved) or put back (put-back), and listed in `moving` meanwhile.
  Requests that nobody claimed are dropped: their rings find nothing. Safe to repeat: marked by this move is marked.
  Source: DESIGN §5.
]]
-- @include base
-- @include indexes
-- @include records
-- @include surplus
-- @include copies
local to = ARGV[2]
because(string.find(to, '^file:') and 'exported' or 'aside ' .. to)

local function mark(id, version, move)
  local key = record_key(id)
  local v = redis.pcall('HMGET', key, 'q', 'at', 'sd', 'ds', 'lg', 'sf', 'o', 'cl', 'sp', unpack(version_fields))
  if v.err then return 'changed' end
  if not v[1] then return call('HGET', away_key(id), 'mt') == move and 'marked' or 'changed' end
  -- A damaged record must not end the script half way, with the others already away.
  if not (tonumber(v[2]) and v[3] and v[4] and tonumber(v[10])) then return 'changed' end
  if version ~= '' and version_of(v, 10) ~= version then return 'changed' end
  if is_claimed(key, v[7], v[8]) then return 'claimed' end
  leave_queue(v[1], id, v[3], v[4], v[5])
  if v[6] then leave_sender(v[6], id) end
  zrem_later(P .. ':due', id)
  zrem_later(P .. ':owed', id)
  if v[9] then zrem_later(surplus_key(v[9]), id) end
  local gone = { 'o', 'cl', 'bw', 'sp' }
  for number in string.gmatch(v[7] or '', '%d+') do gone[#gone + 1] = 'R' .. number end
  call('HDEL', key, unpack(gone))
  call('HSET', key, 'mt', move, 'mto', to)
  call('RENAME', key, away_key(id))
  zadd_later(P .. ':moving', digits(now_ms), id)
  if v[1] == 'active' then tell_leader('left', id) end
  return 'marked'
end

local answers = {}
for i = 3, #ARGV, 3 do answers[#answers + 1] = mark(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
flush_indexes()
flush_events()
return answers
