#!lua flags=allow-oom
--[[
  renew-requests: give requests that nobody claimed a new generation, to be rung afresh; older rings are then stale.

  KEYS  records   ARGV prefix, fence, then per request: id, number, generation
  Returns, per request, its new generation, or -1: claimed, ended or gone | FENCED error
  Source: DESIGN §3 "a re-ring is a new generation".
]]
-- @include base
-- @include fence
-- @include records
local generations = {}
for i = 3, #ARGV, 3 do
  local key = record_key(ARGV[i])
  local request = parse_request(call('HGET', key, 'R' .. ARGV[i + 1]) or '')
  if request and request.state == 'q' and request.generation == ARGV[i + 2] then
    request.generation = digits(tonumber(request.generation) + 1)
    call('HSET', key, 'R' .. ARGV[i + 1], request_text(request))
    generations[#generations + 1] = tonumber(request.generation)
  else
    generations[#generations + 1] = -1
  end
end
return generations
