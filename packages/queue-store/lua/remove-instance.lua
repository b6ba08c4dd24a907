#!lua flags=allow-oom
--[[
  remove-instance: an instance without messages forgets what it is: its identity, its leader's leavings.

  KEYS[1] identity   ARGV prefix, identity, then names of the message queues
  Returns removed | led (somebody leads there) | full (messages are there, or on their way). IDENTITY error as commit-messages.
  Rings in BullMQ's keys name nothing any more; the caller removes them. Safe to repeat.
  Source: sendmail-queue.md §7 "NAME may be removed only when empty".
]]
-- @include base
if call('GET', KEYS[1]) ~= ARGV[2] then
  return redis.error_reply('IDENTITY the store is not the one that this process knows')
end
if call('EXISTS', P .. ':leader') == 1 then return 'led' end
for i = 3, #ARGV do
  if call('EXISTS', P .. ':q:' .. ARGV[i]) == 1 then return 'full' end
end
if call('EXISTS', P .. ':moving') == 1 then return 'full' end
for _, name in ipairs({ 'identity', 'fence', 'events', 'eventno', 'workers', 'gone', 'flush', 'flow', 'opening', 'looking',
  'unthrottled', 'destinations', 'scheduler', 'why', 'due', 'owed', 'asides', 'timeline',
  'audit', 'ops', 'opq' }) do
  call('UNLINK', P .. ':' .. name)
end
return 'removed'
