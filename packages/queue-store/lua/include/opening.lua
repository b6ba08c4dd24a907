--[[
  opening: what the leader has imported last, and whether it will look again.

    opening   fence and ids of the last import, until the leader asks again (or closes): if it dies over them, each
              counts one crash. It imports anew only when it has the last ones in hand.
    looking   stands while the last look into incoming found something: then the leader looks again by itself, and
              whoever puts a message there need not ring. It ends by itself, should the leader die.
]]
local looking_ms = 2000

local function leader_looks() return call('EXISTS', P .. ':looking') end

local function begin_opening(fence, ids)
  call('SET', P .. ':opening', fence .. ' ' .. table.concat(ids, ' '))
end

-- One that carried a count was imported alone; it is innocent.
local function close_opening()
  local opening = call('GET', P .. ':opening')
  if not opening then return end
  local only = string.match(opening, '^%S+ (%S+)$')
  if only then redis.pcall('HDEL', record_key(only), 'oc') end
  call('DEL', P .. ':opening')
end

-- A process that has survived its own term (survived: its fence) did not die over anything.
local function count_opening(survived)
  local opening = call('GET', P .. ':opening')
  if not opening then return end
  local fence, ids = string.match(opening, '^(%S+) (.*)$')
  if fence and fence ~= survived then
    for id in string.gmatch(ids, '%S+') do
      if redis.pcall('HGET', record_key(id), 'q') == 'active' then call('HINCRBY', record_key(id), 'oc', 1) end
    end
  end
  call('DEL', P .. ':opening')
end

local function note_look(from, found)
  if from ~= 'incoming' then return end
  if found then
    call('SET', P .. ':looking', '1', 'PX', looking_ms)
  else
    call('DEL', P .. ':looking')
  end
end
