#!lua flags=allow-oom
--[[
  flush-message: one message goes from deferred to incoming, and lifts the throttles that it meets (`ut`).

  KEYS[1] record   ARGV prefix, id
  Returns moved | not deferred (in another queue, gone, or unreadable)
  Source: spec scheduling.md §11, S29; postqueue(1) -i.
]]
-- @include base
-- @include indexes
-- @include surplus
-- @include flush
because('flush')
if not flush_message(ARGV[2], read_for_flush(ARGV[2])) then return 'not deferred' end
call('HSET', KEYS[1], 'ut', '1')
flush_indexes()
return 'moved'
