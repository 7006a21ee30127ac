-- Its worker ends it, and with it its job. Answers 0 if it has ended already, or is not this
-- worker's.
-- args: id worker status now failure done keep remember
-- uses: emit mine counts stored notify finish
local record = key.generation(id)
if not mine('open') then
  if redis.call('EXISTS', record) == 0 then  -- deleted while it was drawn
    redis.call('ZADD', key.IMAGES_KEPT, 'XX', 0, id)
  end
  return 0
end
finish(status, now, failure, done, keep, remember)
redis.call('ZREM', key.STARTED, redis.call('HGET', record, 'entry') or '')
redis.call('DEL', key.job(id))
return 1
