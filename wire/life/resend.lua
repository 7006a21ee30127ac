-- An owner wants a dead delivery to be tried again: it is due, after what else its generation has.
-- Answers 0: there is none of that name.
-- args: owner message now
local found = redis.call('HGET', key.dead(owner), message)
if not found then return 0 end
redis.call('HDEL', key.dead(owner), message)
redis.call('ZREM', key.died(owner), message)
local delivery = cjson.decode(found)
delivery.since = now
redis.call('RPUSH', key.deliveries(delivery.generation), cjson.encode(delivery))
redis.call('EXPIRE', key.deliveries(delivery.generation), 2592000)
redis.call('ZADD', key.due(delivery.to), 'NX', now, delivery.generation)
redis.call('SADD', key.RECEIVERS, delivery.to)
redis.call('HINCRBY', key.METRICS, 'webhooks:put', 1)
return 1
