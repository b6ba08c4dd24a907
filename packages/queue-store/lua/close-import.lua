#!lua flags=allow-oom
--[[
  close-import: the leader has the imported messages in hand; none of them killed it.

  KEYS[1] opening   ARGV prefix, fence, ids that carried a crash count, if any
  Returns 1 | FENCED error
]]
-- @include base
-- @include fence
call('DEL', KEYS[1])
for i = 3, #ARGV do
  if call('EXISTS', record_key(ARGV[i])) == 1 then call('HDEL', record_key(ARGV[i]), 'oc') end
end
return 1
