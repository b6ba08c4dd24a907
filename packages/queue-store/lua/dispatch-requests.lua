#!lua flags=allow-oom
--[[
  dispatch-requests: write delivery requests before they are rung.

  KEYS  records   ARGV prefix, fence, then per request: id, message generation, transport, nexthop, recipients "0-4,7",
        site or ''
  Returns, per request, its number, or -1: the message is no longer in active at that generation | FENCED error
  Source: DESIGN §3 "Requests".
]]
-- @include base
-- @include fence
-- @include records
local numbers = {}
for i = 3, #ARGV, 6 do
  local key = record_key(ARGV[i])
  local v = call('HMGET', key, 'q', 'g', 'rn', 'o')
  if v[1] ~= 'active' or v[2] ~= ARGV[i + 1] then
    numbers[#numbers + 1] = -1
  else
    local number = digits(tonumber(v[3] or '0') + 1)
    local request = { generation = '1', state = 'q', claim = '', transport = ARGV[i + 2], nexthop = ARGV[i + 3],
      recipients = ARGV[i + 4], site = ARGV[i + 5] }
    local open = v[4] and v[4] ~= '' and v[4] .. ' ' .. number or number
    call('HSET', key, 'rn', number, 'o', open, 'R' .. number, request_text(request))
    numbers[#numbers + 1] = tonumber(number)
  end
end
return numbers
