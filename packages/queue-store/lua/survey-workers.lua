#!lua flags=allow-oom
--[[
  survey-workers: which delivery workers live, and what they can run at once.

  KEYS[1] workers   ARGV prefix, ms after which a worker that is gone is forgotten
  Returns {capacity, worker, worker …}. A worker without a heartbeat is stamped gone.
]]
-- @include base
local all, live, capacity = call('HGETALL', KEYS[1]), {}, 0
for i = 1, #all, 2 do
  local worker = all[i]
  if call('EXISTS', P .. ':w:' .. worker) == 1 then
    live[#live + 1] = worker
    capacity = capacity + tonumber(all[i + 1])
  else
    call('HSETNX', P .. ':gone', worker, digits(now_ms))
    if now_ms - tonumber(call('HGET', P .. ':gone', worker)) > tonumber(ARGV[2]) then
      call('HDEL', KEYS[1], worker)
      call('HDEL', P .. ':gone', worker)
    end
  end
end
return { capacity, unpack(live) }
