-- What an owner's results take of Redis: a reservation at first, the bytes themselves in the end.
local function store(owner, id_, bytes)
  local before = tonumber(redis.call('HGET', key.stored(owner), id_) or 0)
  redis.call('HSET', key.stored(owner), id_, bytes)
  return redis.call('HINCRBY', key.stored(owner), 'total', bytes - before)
end

local function unstore(owner, id_)
  local before = tonumber(redis.call('HGET', key.stored(owner), id_) or 0)
  redis.call('HDEL', key.stored(owner), id_)
  redis.call('ZREM', key.kept(owner), id_)
  if redis.call('HINCRBY', key.stored(owner), 'total', 0 - before) <= 0 then
    redis.call('HDEL', key.stored(owner), 'total')
  end
end
