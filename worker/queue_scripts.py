"""Lua that moves jobs between the queue, the intermediate list and the registry; each atomic."""

# Takes the next job for the owner who has fewest in hand here; then the one who waited longest.
# Only jobs for this worker's models, and what is no generation at all, to be dropped.
# The waiting lists are an index: only what is still in the queue's list counts.
# KEYS: the queue, its intermediate list, each model's zset of waiting owners.
# ARGV: now, whether there is room, how many one owner may have in hand without, owner, count, ...
TAKE = """
local held = {}
for i = 4, #ARGV, 2 do held[ARGV[i]] = tonumber(ARGV[i + 1]) end
while true do
  local model, best, fewest, since
  for i = 3, #KEYS do
    local waiting = redis.call('ZRANGE', KEYS[i], 0, 255, 'WITHSCORES')
    for j = 1, #waiting, 2 do
      local owner, score = waiting[j], tonumber(waiting[j + 1])
      local count = held[owner] or 0
      local allowed = ARGV[2] == '1' or count < tonumber(ARGV[3])
      local better = best == nil or count < fewest or (count == fewest and score < since)
      if allowed and better then model, best, fewest, since = KEYS[i], owner, count, score end
    end
  end
  if best == nil then break end
  local id = redis.call('LPOP', model .. ':' .. best)
  if not id then
    redis.call('ZREM', model, best)
  else
    redis.call('ZADD', model, ARGV[1], best)
    if redis.call('LREM', KEYS[1], 1, id) == 1 then
      redis.call('RPUSH', KEYS[2], id)
      return id
    end
  end
end
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, 15)) do
  if redis.call('EXISTS', 'emaki:gen:' .. id) == 0 then
    redis.call('LREM', KEYS[1], 1, id)
    redis.call('RPUSH', KEYS[2], id)
    return id
  end
end
return false
"""

# Moves a job back to the queue if, and only if, it is still where it was seen.
# KEYS: where it is, the queue, the record, the job; a job that is gone is only removed.
# ARGV: entry, id, now, and how: 'abandoned' and 'back' put it first, 'elsewhere' last;
# 'abandoned' also counts against it, doubly if it ran alone.
REQUEUE = """
local there
if redis.call('TYPE', KEYS[1]).ok == 'list' then
  there = redis.call('LREM', KEYS[1], 1, ARGV[1])
else
  there = redis.call('ZREM', KEYS[1], ARGV[1])
end
if there == 0 or redis.call('EXISTS', KEYS[4]) == 0 then return 0 end
redis.call('LREM', KEYS[2], 0, ARGV[2])
redis.call(ARGV[4] == 'elsewhere' and 'RPUSH' or 'LPUSH', KEYS[2], ARGV[2])
local record = redis.call('HMGET', KEYS[3], 'owner', 'model')
if record[1] and record[2] then
  local owners = 'emaki:waiting:' .. record[2]
  local list = owners .. ':' .. record[1]
  redis.call('LREM', list, 0, ARGV[2])
  redis.call(ARGV[4] == 'elsewhere' and 'RPUSH' or 'LPUSH', list, ARGV[2])
  redis.call('ZADD', owners, 'NX', ARGV[3], record[1])
  if ARGV[4] == 'abandoned' then
    redis.call('HINCRBY', KEYS[3], 'abandoned', 1)
    if redis.call('HGET', KEYS[3], 'isolated') == '1' then
      redis.call('HINCRBY', KEYS[3], 'strikes', 1)
    end
  end
  redis.call('HDEL', KEYS[3], 'isolated')
end
return 1
"""

# Forgets the job of a generation that has ended, queued again or not. KEYS: record, queue, job.
FORGET = """
local status = redis.call('HGET', KEYS[1], 'status')
if status == 'queued' or status == 'running' then return 0 end
redis.call('LREM', KEYS[2], 0, ARGV[1])
redis.call('DEL', KEYS[3])
return 1
"""
