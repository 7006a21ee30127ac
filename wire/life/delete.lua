-- A client wants nothing of it kept; whoever draws it is asked to stop. Answers 0: there is none.
-- args: id member
-- uses: counts stored dequeue
local found = redis.call('HMGET', key.generation(id), 'status', 'owner', 'evaluations')
local status, owner = found[1], found[2] or ''
if not status then return 0 end
if status == 'queued' then leave_queue() end
if status == 'queued' or status == 'running' then less(key.UNFINISHED, owner, 1) end
made(tonumber(found[3] or 0))
if not dequeue() and (status == 'queued' or status == 'running') then
  redis.call('SADD', key.CANCELS, id)
end
unstore(owner, id)
redis.call('DEL', key.generation(id), key.events(id), key.images(id), key.gone(id),
  key.deliveries(id), key.tries(id))
for _, message in ipairs(redis.call('HKEYS', key.dead(owner))) do
  if string.sub(message, 1, #id + 1) == id .. '.' then
    redis.call('HDEL', key.dead(owner), message)
    redis.call('ZREM', key.died(owner), message)
  end
end
redis.call('ZREM', key.history(owner), member)
redis.call('ZADD', key.IMAGES_KEPT, 'XX', 0, id)
redis.call('PUBLISH', key.WAKE, id .. ' done')
return 1
