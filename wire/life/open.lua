-- A worker has popped it: from now on it is this worker's; one that had it before, and slept, lets
-- go when it wakes. Answers {fields and values, whether a client wants it canceled}.
-- args: id worker
local found = redis.call('HMGET', key.generation(id), 'version', 'owner', 'status')
if found[1] and found[2] then redis.call('LREM', key.waiting(found[1], found[2]), 1, id) end
if found[3] == 'queued' then
  local taken = key.taken(found[1], found[2])
  if not redis.call('LPOS', taken, id) then redis.call('RPUSH', taken, id) end
  redis.call('EXPIRE', taken, 604800)
end
if found[3] == 'queued' or found[3] == 'running' then
  redis.call('HSET', key.generation(id), 'worker', worker)
end
return {redis.call('HGETALL', key.generation(id)), redis.call('SISMEMBER', key.CANCELS, id)}
