-- Deliveries that are due, each its generation's first: at most so many of an owner's receiver, so
-- that one that is slow or away keeps up only its own; until `lease` nobody else has them.
-- Answers {delivery, tries so far} for each.
-- args: now lease room most busy
local claimed, under_way = {}, cjson.decode(busy)
for _, to in ipairs(redis.call('SRANDMEMBER', key.RECEIVERS, 256)) do
  local free = math.min(tonumber(most) - (under_way[to] or 0), tonumber(room) - #claimed)
  if free > 0 then
    local due = redis.call('ZRANGEBYSCORE', key.due(to), 0, now, 'LIMIT', 0, free)
    for _, id in ipairs(due) do
      local first = redis.call('LINDEX', key.deliveries(id), 0)
      if first then
        redis.call('ZADD', key.due(to), lease, id)
        local tries = tonumber(redis.call('GET', key.tries(id)) or 0)
        claimed[#claimed + 1] = {first, tries}
      else  -- deleted, or expired
        redis.call('ZREM', key.due(to), id)
      end
    end
  end
  if redis.call('EXISTS', key.due(to)) == 0 then redis.call('SREM', key.RECEIVERS, to) end
end
return claimed
