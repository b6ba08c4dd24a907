#!lua flags=allow-oom
--[[
  audit: notes what somebody did to the queue, and forgets the oldest of too many notes.

  KEYS[1] audit (stream)   ARGV prefix, notes kept (about), the note as JSON
  Returns the note's id, whose first half is its time in ms.
  Repeated (an answer that was lost) it notes twice, which does no harm. Written in a full Redis too: what drains it is
  to be noted as well.
  Source: spec http-api.md §2 "audited".
]]
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'e', ARGV[3])
