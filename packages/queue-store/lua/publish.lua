#!lua flags=allow-oom
--[[
  publish: what the leader tells of itself and its destinations to those who look on.

  KEYS[1] destinations: hash name -> JSON   KEYS[2] scheduler: JSON
  ARGV prefix, fence, scheduler JSON, its life ms, how many changed, then each: name, JSON; then names that are forgotten
  Returns 1 | FENCED error
  A new leader takes up what the one before left, and names what it does not want as forgotten.
  Source: DESIGN §4; http-api.md §2 "/v1/destinations".
]]
-- @include base
-- @include fence
call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
local changed, gone = {}, {}
local first_gone = 6 + tonumber(ARGV[5]) * 2
for i = 6, first_gone - 1 do changed[#changed + 1] = ARGV[i] end
for i = first_gone, #ARGV do gone[#gone + 1] = ARGV[i] end
-- A name may be forgotten and known anew within one word.
call_long('HDEL', KEYS[1], gone, 4000)
call_long('HSET', KEYS[1], changed, 4000)
return 1
