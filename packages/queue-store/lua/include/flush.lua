--[[
  flush: one message goes from deferred to incoming, so that it is tried now. Needs indexes and surplus.

  `v` is what read_for_flush gave. True when it was moved; anything but a readable message of deferred is left alone.
]]
local function read_for_flush(id)
  return redis.pcall('HMGET', record_key(id), 'q', 'g', 'at', 'sd', 'ds', 'lg', 'sp', 'qe', 'rg')
end

local function flush_message(id, v)
  if v.err or v[1] ~= 'deferred' or not (tonumber(v[2]) and tonumber(v[3]) and v[4] and v[5]) then return false end
  local key = record_key(id)
  leave_queue('deferred', id, v[4], v[5], v[6])
  enter_queue('incoming', id, v[3], v[4], v[5], v[6])
  zrem_later(P .. ':due', id)
  if v[7] then zrem_later(surplus_key(v[7]), id) end
  call('HDEL', key, 'due', 'sp')
  call('HSET', key, 'q', 'incoming', 'g', digits(tonumber(v[2]) + 1), 'qe', digits(now_ms))
  return true
end
