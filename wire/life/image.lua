-- An image is finished: kept and announced once, whoever draws it again.
-- Answers the facts that are kept, the first that came; nothing if it is not this worker's.
-- args: id worker index field facts png event now
-- uses: emit mine notify
if not mine() then return false end
if redis.call('HSETNX', key.generation(id), field, facts) == 0 then
  return redis.call('HGET', key.generation(id), field)
end
if png ~= '' then
  redis.call('HSET', key.images(id), index, png)
  redis.call('HINCRBY', key.generation(id), 'bytes', #png)
end
emit('image', event)
notify('image', 'image.' .. index, event, now)
return facts
