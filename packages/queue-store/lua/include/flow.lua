--[[
  flow: in-flow tokens, by which the scheduler slows those who take mail in (S33, S34).

    flow   how many tokens are taken; absent: none. There are `all` of them (default_process_limit).

  A message that enters incoming takes one, its import gives one back, and a scan that has seen all of incoming gives
  back all. Reports take none, as they are few and must not wait.
]]
-- Returns 1 when none is left now, 0 when some are, -1 when none was asked for.
local function take_tokens(count, all)
  if count == 0 then return -1 end
  local taken = call('INCRBY', P .. ':flow', count)
  if taken < all then return 0 end
  if taken > all then call('SET', P .. ':flow', digits(all)) end
  return 1
end

local function give_tokens(count)
  if count > 0 and call('EXISTS', P .. ':flow') == 1 and call('DECRBY', P .. ':flow', count) <= 0 then
    call('DEL', P .. ':flow')
  end
end

local function give_all_tokens() call('DEL', P .. ':flow') end
