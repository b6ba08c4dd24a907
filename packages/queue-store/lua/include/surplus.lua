--[[
  surplus: messages of deferred that wait for room at a destination which holds its share of active (S31).

    surplus:<hash of the destination's name>   zset id by arrival; a record's `sp` is the hash

  Leaving deferred by an import or a flush takes a message out. Who moves it otherwise need not: an id whose record
  is elsewhere, or no longer says `sp`, is dropped by the next recall; and a set to which nothing is added goes by itself
  after surplus_life_seconds, long after all in it were due.
]]
local surplus_life_seconds = 86400

local function surplus_hash(name) return string.sub(redis.sha1hex(name), 1, 16) end

local function surplus_key(hash) return P .. ':surplus:' .. hash end
