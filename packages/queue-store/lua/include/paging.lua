--[[
  paging: a zset in steps, in its own order, whatever comes and goes between two of them.

  A cursor is "<score> <member>" of the last one seen, '' at first. What stays in the set is seen exactly once.
]]
-- As Redis orders members of one score: by bytes, not by the locale that Lua's < would use.
local function is_behind(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end

-- Scores from least to most, if they are given. Returns a list of members, the next cursor ('' at the end), and the members' scores.
local function read_page(key, cursor_text, count, least, most)
  local score, member = string.match(cursor_text, '^(%S+) (.*)$')
  local found, offset, last, scores = {}, 0, '', {}
  while true do
    local flat = call('ZRANGEBYSCORE', key, score or least or '-inf', most or '+inf', 'WITHSCORES', 'LIMIT', offset, count)
    for i = 1, #flat, 2 do
      if flat[i + 1] ~= score or is_behind(flat[i], member) then
        found[#found + 1] = flat[i]
        scores[#scores + 1] = flat[i + 1]
        last = flat[i + 1] .. ' ' .. flat[i]
      end
    end
    if #flat < count * 2 then return found, '', scores end
    if #found > 0 then return found, last, scores end
    offset = offset + count
  end
end
