-- Take it out of the queue, and say whether it was there: else a worker has it in hand.
local function dequeue()
  local found = redis.call('HMGET', key.generation(id), 'version', 'owner')
  if found[1] and found[2] then redis.call('ZREM', key.waiting(found[1], found[2]), id) end
  if redis.call('LREM', key.QUEUE_LIST, 0, id) == 0 then return false end
  redis.call('DEL', key.job(id))
  return true
end
