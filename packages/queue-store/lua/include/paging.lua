--[[
  paging: a zset in steps, in its own order, whatever comes and goes between two of them.

  A cursor is "<score> <member>" of the last one seen, '' at first. What stays in the set is seen exactly once. A page
  costs what is in it, also where all members have one score, as after an import that knows only days of arrival.
]]
-- As Redis orders members of one score: by bytes, not by the locale that Lua's < would use.
local function is_behind(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end

-- The rank of the first one behind that place; who stood there may have left, or come back with another score.
local function rank_behind(key, score, member)
  local rank = call('ZRANK', key, member)
  if rank and call('ZSCORE', key, member) == score then return rank + 1 end
  local low, high = call('ZCOUNT', key, '-inf', '(' .. score), call('ZCOUNT', key, '-inf', score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_behind(call('ZRANGE', key, middle, middle)[1], member) then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end

-- Scores from least to most, if they are given. Returns a list of members, the next cursor ('' at the end), and the members' scores.
local function read_page(key, cursor_text, count, least, most)
  local score, member = string.match(cursor_text, '^(%S+) (.*)$')
  local first = score and rank_behind(key, score, member) or call('ZCOUNT', key, '-inf', '(' .. (least or '-inf'))
  local behind = call('ZCOUNT', key, '-inf', most or '+inf')
  local found, scores = {}, {}
  if first >= behind then return found, '', scores end
  local flat = call('ZRANGE', key, first, math.min(first + count, behind) - 1, 'WITHSCORES')
  for i = 1, #flat, 2 do
    found[#found + 1] = flat[i]
    scores[#scores + 1] = flat[i + 1]
  end
  if first + count >= behind then return found, '', scores end
  return found, scores[#scores] .. ' ' .. found[#found], scores
end
