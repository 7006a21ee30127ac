-- A job goes back to the queue if, and only if, it is still where it was seen; a job that is gone
-- is only removed. `how`: "abandoned" and "back" put it first, "elsewhere" last.
-- Abandoned means that its worker died. What was in that worker's last step is suspected, and will
-- be drawn isolated; a death while it was isolated is a strike. What was not goes on as before,
-- unless that happens to it again and again.
-- Answers whether it went back.
-- args: place entry id now how
local there
if redis.call('TYPE', place).ok == 'list' then
  there = redis.call('LREM', place, 1, entry)
else
  there = redis.call('ZREM', place, entry)
end
if there == 0 or redis.call('EXISTS', key.job(id)) == 0 then return 0 end

local push = how == 'elsewhere' and 'RPUSH' or 'LPUSH'
redis.call('LREM', key.QUEUE_LIST, 0, id)
redis.call(push, key.QUEUE_LIST, id)
redis.call('HSET', key.job(id), 'status', 'queued')

local record = key.generation(id)
local found = redis.call(
  'HMGET', record, 'owner', 'version', 'worker', 'suspected', 'status', 'created', 'turn')
local owner, version, holder = found[1], found[2], found[3]
if not owner or not version then return 1 end
local waits, turn = key.waiting(version, owner), tonumber(found[7] or found[6])
local edge = how == 'elsewhere' and -1 or 0
local other = redis.call('ZRANGE', waits, edge, edge, 'WITHSCORES')
if other[1] and how == 'elsewhere' then turn = math.max(turn, tonumber(other[2]) + 0.001) end
if other[1] and how ~= 'elsewhere' then turn = math.min(turn, tonumber(other[2]) - 0.001) end
redis.call('ZADD', waits, string.format('%.6f', turn), id)
redis.call('ZADD', key.owners(version), 'NX', now, owner)
redis.call('SADD', key.WAITING, version)
redis.call('LREM', key.taken(version, owner), 0, id)
redis.call('HDEL', record, 'worker', 'entry')
redis.call('ZADD', key.WAITS, found[5] == 'queued' and found[6] or now, id)

if how == 'abandoned' then
  local deaths = redis.call('HINCRBY', record, 'abandoned', 1)
  local last = holder and redis.call('GET', key.batch(holder)) or ''
  if string.find(last or '', id, 1, true) then
    if last == id and found[4] then redis.call('HINCRBY', record, 'strikes', 1) end
    redis.call('HSET', record, 'suspected', 1)
  elseif deaths % 3 == 0 then
    redis.call('HSET', record, 'suspected', 1)
  end
end
return 1
