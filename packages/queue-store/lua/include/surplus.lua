--[[
  surplus: messages of deferred that wait for room, since a destination (or a key of fair_share_key) holds its share of
  active (S31).

    surplus:<hash of its name>   zset id by arrival; a record's `sp` is the name

  Leaving deferred by an import or a flush takes a message out. Who moves it otherwise need not, but takes `sp` away:
  an id whose record is elsewhere, or says another `sp`, is dropped by the next recall; and a set to which nothing is
  added goes by itself after surplus_life_seconds.
]]
local surplus_life_seconds = 86400

local function surplus_key(name) return P .. ':surplus:' .. string.sub(redis.sha1hex(name), 1, 16) end
