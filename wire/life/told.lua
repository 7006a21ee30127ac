-- What came of a delivery. "delivered": the generation's next one is due; "later": the same again,
-- at `at`; "dead": no more, it is kept for its owner to see. Answers 0: somebody has said so already.
-- args: id to message outcome at why now keep most
local first = redis.call('LINDEX', key.deliveries(id), 0)
if not first or cjson.decode(first).id ~= message then return 0 end
redis.call('HINCRBY', key.METRICS, 'webhooks:' .. outcome, 1)
if outcome == 'later' then
  redis.call('INCR', key.tries(id))
  redis.call('EXPIRE', key.tries(id), keep)
  redis.call('ZADD', key.due(to), at, id)
  return 1
end
if outcome == 'dead' then
  local letter = cjson.decode(first)
  local owner = letter.owner
  letter.why, letter.died = why, now
  letter.tries = tonumber(redis.call('GET', key.tries(id)) or 0) + 1
  redis.call('HSET', key.dead(owner), message, cjson.encode(letter))
  redis.call('ZADD', key.died(owner), now, message)
  redis.call('ZREMRANGEBYSCORE', key.died(owner), 0, now - keep)
  redis.call('ZREMRANGEBYRANK', key.died(owner), 0, -1 - most)
  for _, old in ipairs(redis.call('HKEYS', key.dead(owner))) do
    if not redis.call('ZSCORE', key.died(owner), old) then redis.call('HDEL', key.dead(owner), old) end
  end
  redis.call('EXPIRE', key.dead(owner), keep)
  redis.call('EXPIRE', key.died(owner), keep)
end
redis.call('LPOP', key.deliveries(id))
redis.call('DEL', key.tries(id))
if redis.call('LLEN', key.deliveries(id)) == 0 then
  redis.call('ZREM', key.due(to), id)
else
  redis.call('ZADD', key.due(to), now, id)
end
return 1
