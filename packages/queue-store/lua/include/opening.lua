--[[
  opening: what the leader has imported last, and whether it will look again.

    opening   ids of the last import, until the leader asks again (or closes): if it dies over them, each counts one
              crash. It imports anew only when it has the last ones in hand.
    looking   stands while the last look into incoming found something: then the leader looks again by itself, and
              whoever puts a message there need not ring. It ends by itself, should the leader die.
]]
local looking_ms = 2000

local function leader_looks() return call('EXISTS', P .. ':looking') end

-- One that carried a count was imported alone; it is innocent.
local function close_opening()
  local opening = call('GET', P .. ':opening')
  if not opening then return end
  if not string.find(opening, ' ', 1, true) then redis.pcall('HDEL', record_key(opening), 'oc') end
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
