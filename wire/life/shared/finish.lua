-- The end, whichever: it is told once, what is kept expires, and the id is remembered for longer.
local function finish(status, now, failure, done, keep, remember)
  local record = key.generation(id)
  local found = redis.call('HMGET', record, 'status', 'owner', 'evaluations')
  local owner = found[2] or ''
  if found[1] == 'queued' then leave_queue() end
  redis.call('ZREM', key.WAITS, id)  -- one that was put back while it was drawn
  made(tonumber(found[3] or 0))
  less(key.UNFINISHED, owner, 1)
  redis.call('HSET', record, 'status', status, 'finished', now, 'error', failure)
  emit('done', done)
  notify('done', 'done', done, now)
  for _, name in ipairs({record, key.events(id), key.images(id)}) do
    redis.call('EXPIRE', name, keep)
  end
  store(owner, id, tonumber(redis.call('HGET', record, 'bytes') or 0))
  redis.call('ZADD', key.kept(owner), now + keep, id)
  redis.call('EXPIRE', key.stored(owner), remember)
  redis.call('EXPIRE', key.kept(owner), remember)
  redis.call('ZADD', key.IMAGES_KEPT, 'XX', now + keep, id)
  redis.call('SET', key.gone(id), owner, 'EX', remember)
  redis.call('SREM', key.CANCELS, id)
  redis.call('HINCRBY', key.METRICS, 'generations:' .. status, 1)
  redis.call('EXPIRE', key.history(owner), remember)
end
