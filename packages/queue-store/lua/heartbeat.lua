#!lua flags=allow-oom
--[[
  heartbeat: this run of this process lives, and so do its claims.

  KEYS[1] heartbeat key   ARGV prefix, worker, heartbeat ms, deliveries it can run at once ('' for cleanup and bounce)
  Returns 1. A stamp of being gone is cleared.
  Source: DESIGN §3 "A request is dialled only under a claim".
]]
-- @include base
call('SET', KEYS[1], '1', 'PX', ARGV[3])
if ARGV[4] ~= '' then
  call('HSET', P .. ':workers', ARGV[2], ARGV[4])
  call('HDEL', P .. ':gone', ARGV[2])
end
return 1
