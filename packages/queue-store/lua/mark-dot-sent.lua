#!lua flags=allow-oom
--[[
  mark-dot-sent: the fence before the final dot. From here on the delivery may have happened.

  KEYS  records   ARGV prefix, claim, then per request: id, number, generation
  Returns, per request: 1 marked | 0 the claim is no longer ours: the dot must not be sent
  Safe to repeat: already marked by us is marked.
  Source: DESIGN §3 "The claim is marked dot-sent before the final dot".
]]
-- @include base
-- @include records
-- @include timeline
local claim, answers = ARGV[2], {}
for i = 3, #ARGV, 3 do
  local key, field = record_key(ARGV[i]), 'R' .. ARGV[i + 1]
  local request = parse_request(call('HGET', key, field) or '')
  if request and request.generation == ARGV[i + 2] and request.claim == claim and request.state ~= 'q' then
    if request.state == 'c' then
      request.state = 'd'
      call('HSET', key, field, request_text(request))
      note_together('m', ARGV[i])
    end
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = 0
  end
end
flush_timeline()
return answers
