-- An old leader is refused: the fence is compared as a string of whole digits (DESIGN §4). ARGV[2] is the caller's.
if call('GET', P .. ':fence') ~= ARGV[2] then
  return redis.error_reply('FENCED another leader was elected')
end
