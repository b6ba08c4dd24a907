-- Where an unreadable id may still stand, since its record can't tell: every index that names bare ids.
local function forget_everywhere(id)
  for _, queue in ipairs({ 'maildrop', 'incoming', 'active', 'deferred', 'hold' }) do
    call('ZREM', P .. ':q:' .. queue, id)
    call('ZREM', P .. ':e:' .. queue, id)
    call('ZREM', P .. ':l:' .. queue, id)
  end
  call('ZREM', P .. ':due', id)
  call('ZREM', P .. ':owed', id)
end

local function park_corrupt(id, reason, generation)
  local key = record_key(id)
  local v = redis.pcall('HMGET', key, 'q', 'g', 'at', 'sd', 'ds', 'lg')
  local readable = not v.err and v[1] and is_number(v[2]) and is_number(v[3]) and v[4] and v[5]
  if readable and generation ~= '' and v[2] ~= generation then return 'stale' end
  if readable and v[1] == 'corrupt' then return 'stale' end
  call('HSET', P .. ':why', id, reason)
  note_move('v\tcorrupt\t\t\t' .. detail(reason, 200), id)
  if readable then
    leave_queue(v[1], id, v[4], v[5], v[6])
    zrem_later(P .. ':due', id)
    zrem_later(P .. ':owed', id)
    call('HDEL', key, 'cl', 'due', 'bw', 'sp')
    call('HSET', key, 'q', 'corrupt', 'g', digits(tonumber(v[2]) + 1), 'qe', digits(now_ms))
    enter_queue('corrupt', id, v[3], v[4], v[5], v[6])
    if v[1] == 'active' then tell_leader('left', id) end
  else
    forget_everywhere(id)
    call('ZADD', P .. ':q:corrupt', now_ms, id)
  end
  return 'moved'
end
