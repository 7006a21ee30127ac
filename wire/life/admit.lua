-- A generation enters, in the transaction that has just queued its job; or the job is taken back.
-- The transaction is sent again where its answer was lost: then its generation is in already.
-- Answers {"accepted" | "replay" | "conflict" | "full" | "stored", id, or what there is so far}.
-- args: id owner version batch evaluations priority turn reserved now member once fingerprint once_seconds most_queued most_stored init mask
-- rest: fields
-- uses: stored
local record = key.generation(id)

local function refuse(why, detail)
  redis.call('LREM', key.QUEUE_LIST, -1, id)
  redis.call('DEL', key.job(id))
  return {why, tostring(detail)}
end

local already = redis.call('HGET', record, 'status')
if already then
  redis.call('LREM', key.QUEUE_LIST, -1, id)
  if already ~= 'queued' and already ~= 'running' then redis.call('DEL', key.job(id)) end
  return {'accepted', id}
end

if once ~= '' then
  local first = redis.call('HMGET', once, 'id', 'fingerprint')
  if first[1] then return refuse(first[2] == fingerprint and 'replay' or 'conflict', first[1]) end
end

-- Nobody is kept out by others: who has nothing queued is always let in.
local queued = tonumber(redis.call('HGET', key.QUEUED, 'pictures') or 0)
local own = tonumber(redis.call('HGET', key.QUEUED, 'pictures:' .. owner) or 0)
if own > 0 and queued + batch > tonumber(most_queued) then return refuse('full', queued) end

for _, old in ipairs(redis.call('ZRANGEBYSCORE', key.kept(owner), 0, now, 'LIMIT', 0, 1000)) do
  unstore(owner, old)
end
local total = tonumber(redis.call('HGET', key.stored(owner), 'total') or 0)
if tonumber(most_stored) > 0 and total + reserved > tonumber(most_stored) then
  return refuse('stored', total)
end
store(owner, id, reserved)

if once ~= '' then
  redis.call('HSET', once, 'id', id, 'fingerprint', fingerprint)
  redis.call('EXPIRE', once, once_seconds)
end
redis.call('HINCRBY', key.QUEUED, 'pictures', batch)
redis.call('HINCRBY', key.QUEUED, 'pictures:' .. owner, batch)
redis.call('HINCRBY', key.UNFINISHED, owner, 1)
local backlog = redis.call('HINCRBY', key.BACKLOG, owner, evaluations)
local drawn = tonumber(redis.call('HGET', key.DRAWN, owner) or 0)
redis.call('HSET', record, 'drawn_by_then', drawn + backlog, unpack(fields))
for field, png in pairs({[key.INIT] = init, [key.MASK] = mask}) do
  if png ~= '' then
    redis.call('HSET', key.images(id), field, png)
    redis.call('HINCRBY', record, 'bytes', #png)
  end
end
redis.call('SADD', key.WAITING, version)
redis.call('ZADD', key.waiting(version, owner), turn, id)
if priority ~= 'normal' then redis.call('HINCRBY', key.QUEUED, 'ranked:' .. owner, 1) end
redis.call('ZADD', key.owners(version), 'NX', now, owner)
redis.call('ZADD', key.WAITS, now, id)

-- A longer history loses its oldest members, where these are gone.
for _, old in ipairs(redis.call('ZRANGE', key.history(owner), 0, 1)) do
  if redis.call('EXISTS', key.generation(string.sub(old, 17))) == 0 then
    redis.call('ZREM', key.history(owner), old)
  end
end
redis.call('ZADD', key.history(owner), 0, member)
redis.call('PERSIST', key.history(owner))
return {'accepted', id}
