-- Put a delivery into its webhook's queue, if it has one that wants to know of such an event; in the
-- script that makes the event happen, so there is none without the other.
local function notify(event, name, data, now)
  local found = redis.call('HMGET', key.generation(id), 'webhook', 'owner')
  if not found[1] then return end
  local hook = cjson.decode(found[1])
  if not hook.events[event] then return end
  local delivery = {
    id = id .. '.' .. name, generation = id, owner = found[2] or '', event = event, at = now,
    since = now, url = hook.url, to = hook.to, secret = hook.secret, data = data,
  }
  redis.call('RPUSH', key.deliveries(id), cjson.encode(delivery))
  redis.call('EXPIRE', key.deliveries(id), 2592000)
  redis.call('ZADD', key.due(hook.to), 'NX', now, id)
  redis.call('SADD', key.RECEIVERS, hook.to)
  redis.call('HINCRBY', key.METRICS, 'webhooks:put', 1)
end
