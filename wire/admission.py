"""Lua for the ways in and out of the queue: limits, places, removal; each step atomic.

So two API processes cannot both take the last place, and no request counts twice.
"""

from wire.scripts import LEAVE_QUEUE

# Takes a generation in, in the transaction that has just queued its job, or takes the job back.
# The transaction is sent again where its answer was lost on the way: its generation is in already.
# KEYS: record, queue, job, owner's waiting list, model's owners, history, any Idempotency-Key.
# ARGV: id, most pictures queued, batch, work, owner, created, history member, fingerprint,
# seconds to keep the Idempotency-Key, then the record's fields.
# Returns {"accepted" | "full" | "replay" | "conflict", pictures queued or first generation's id}.
ADMIT = """
local function refuse(why, detail)
  redis.call('LREM', KEYS[2], -1, ARGV[1])
  redis.call('DEL', KEYS[3])
  return {why, detail}
end
local already = redis.call('HGET', KEYS[1], 'status')
if already then
  redis.call('LREM', KEYS[2], -1, ARGV[1])
  if already ~= 'queued' and already ~= 'running' then redis.call('DEL', KEYS[3]) end
  return {'accepted', '0'}
end
if KEYS[7] then
  local first = redis.call('HMGET', KEYS[7], 'id', 'fingerprint')
  if first[1] then return refuse(first[2] == ARGV[8] and 'replay' or 'conflict', first[1]) end
end
local queued = tonumber(redis.call('HGET', 'emaki:queued', 'pictures') or 0)
if queued + tonumber(ARGV[3]) > tonumber(ARGV[2]) then return refuse('full', tostring(queued)) end
if KEYS[7] then
  redis.call('HSET', KEYS[7], 'id', ARGV[1], 'fingerprint', ARGV[8])
  redis.call('EXPIRE', KEYS[7], ARGV[9])
end
redis.call('HSET', KEYS[1], unpack(ARGV, 10))
redis.call('RPUSH', KEYS[4], ARGV[1])
redis.call('ZADD', KEYS[5], 'NX', ARGV[6], ARGV[5])
redis.call('HINCRBY', 'emaki:queued', 'pictures', ARGV[3])
redis.call('HINCRBY', 'emaki:queued', 'row_steps', ARGV[4])
for _, member in ipairs(redis.call('ZRANGE', KEYS[6], 0, 1)) do
  if redis.call('EXISTS', 'emaki:gen:' .. string.sub(member, 17)) == 0 then
    redis.call('ZREM', KEYS[6], member)
  end
end
redis.call('ZADD', KEYS[6], 0, ARGV[7])
redis.call('PERSIST', KEYS[6])
return {'accepted', tostring(queued)}
"""

# A record, and its place in the order in which workers take them: owners take turns.
# KEYS: record. ARGV: id. Returns {record's fields and values, place}; 0: not in the queue.
LOOK = """
local record = redis.call('HGETALL', KEYS[1])
local found = redis.call('HMGET', KEYS[1], 'status', 'model', 'owner')
if found[1] ~= 'queued' then return {record, 0} end
local key, owner = 'emaki:waiting:' .. found[2], found[3]
local mine = redis.call('LPOS', key .. ':' .. owner, ARGV[1])
if not mine then return {record, 0} end
local since = tonumber(redis.call('ZSCORE', key, owner) or 0)
local place = mine + 1
local owners = redis.call('ZRANGE', key, 0, 255, 'WITHSCORES')
for i = 1, #owners, 2 do
  if owners[i] ~= owner then
    local before = tonumber(owners[i + 1]) < since and mine + 1 or mine
    place = place + math.min(redis.call('LLEN', key .. ':' .. owners[i]), before)
  end
end
return {record, place}
"""

# Removes a generation and everything of it; whoever draws it is asked to stop.
# KEYS: record, events, PNGs, the "gone" mark, cancels, queue, waiting list, job, history.
# ARGV: id, history member.
DELETE = (
    LEAVE_QUEUE
    + """
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 0 end
if status == 'queued' then leave_queue() end
redis.call('LREM', KEYS[7], 0, ARGV[1])
if redis.call('LREM', KEYS[6], 0, ARGV[1]) > 0 then
  redis.call('DEL', KEYS[8])
elseif status == 'queued' or status == 'running' then
  redis.call('SADD', KEYS[5], ARGV[1])
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('ZREM', KEYS[9], ARGV[2])
redis.call('ZADD', 'emaki:images', 'XX', 0, ARGV[1])
redis.call('PUBLISH', 'emaki:wake', ARGV[1])
return 1
"""
)

# Counts one request of an owner. KEYS: the count. ARGV: seconds of the window.
# Returns requests in the window so far, milliseconds until it ends.
RATE = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
"""

# Where nothing is queued, popped or held, the count of what is queued is nothing, too.
# KEYS: queue, intermediate list, started registry.
SETTLE = """
local busy = redis.call('LLEN', KEYS[1]) + redis.call('LLEN', KEYS[2])
if busy + redis.call('ZCARD', KEYS[3]) == 0 then redis.call('DEL', 'emaki:queued') end
"""
