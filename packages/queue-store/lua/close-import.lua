#!lua flags=allow-oom
--[[
  close-import: the leader has the imported messages in hand, none of them killed it, and it will not look again.

  ARGV prefix, fence
  Returns 1 | FENCED error
]]
-- @include base
-- @include fence
-- @include opening
close_opening()
note_look('incoming', false)
return 1
