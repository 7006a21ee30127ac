-- A picture that a client has sent is kept as long as results are; sent again, it is kept anew.
-- Answers how many bytes its owner's results take already, if there is no room for it; else -1.
-- args: id owner bytes now most_stored outside keep remember
-- rest: fields
-- uses: stored
for _, old in ipairs(redis.call('ZRANGEBYSCORE', key.kept(owner), 0, now, 'LIMIT', 0, 1000)) do
  unstore(owner, old)
end
local before = tonumber(redis.call('HGET', key.stored(owner), id) or 0)
local total = tonumber(redis.call('HGET', key.stored(owner), 'total') or 0)
if tonumber(most_stored) > 0 and total - before + bytes > tonumber(most_stored) then return total end
store(owner, id, bytes)
redis.call('ZADD', key.kept(owner), now + keep, id)
redis.call('EXPIRE', key.stored(owner), remember)
redis.call('EXPIRE', key.kept(owner), remember)
redis.call('HSET', key.upload(id), unpack(fields))
redis.call('EXPIRE', key.upload(id), keep)
if outside == '1' then redis.call('ZADD', key.IMAGES_KEPT, now + keep, id) end
return -1
