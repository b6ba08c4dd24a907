#!lua flags=allow-oom
--[[
  flush-all: the leader is to try all that is in deferred now, and to lift all throttles.

  ARGV prefix
  Returns the moment of the flush, ms: whatever entered deferred before it is due. A later flush takes its place.
  It stands until a leader has carried it out, whoever leads then.
  Source: spec scheduling.md §2, §11.
]]
-- @include base
-- @include records
-- What entered deferred in this very millisecond is meant too.
local moment = digits(now_ms + 1)
call('SET', P .. ':flush', moment)
tell_leader('flush')
flush_events()
return moment
