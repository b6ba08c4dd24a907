#!lua flags=allow-oom
--[[
  end-flush: the leader has taken up all that the flush of that moment asked for.

  ARGV prefix, fence, moment ms
  Returns 1 | 0: another was asked for meanwhile, which stands | FENCED error
  Source: spec scheduling.md §11.
]]
-- @include base
-- @include fence
if call('GET', P .. ':flush') ~= ARGV[3] then return 0 end
call('DEL', P .. ':flush')
return 1
