-- A worker takes it in hand, from wherever it was: its job is RQ's started one until `abandoned_at`,
-- and it is this worker's; one that had it before, and slept, lets go when it wakes.
-- `entry` is its place among the started jobs. Of what is no generation any more the job goes.
-- Answers {id, fields and values, whether a client wants it canceled}.
local function in_hand(id)
  local record = key.generation(id)
  local found = redis.call('HMGET', record, 'version', 'owner', 'status')
  local version, owner, status = found[1] or '', found[2] or '', found[3]
  if status ~= 'queued' and status ~= 'running' then
    redis.call('DEL', key.job(id))
    return {id, {}, 0}
  end
  local entry = id .. ':' .. execution
  redis.call('ZADD', key.STARTED, abandoned_at, entry)
  redis.call('HSET', key.job(id), 'status', 'started', 'worker_name', rq_worker,
    'started_at', moment, 'last_heartbeat', moment)
  redis.call('ZREM', key.waiting(version, owner), id)
  if status == 'queued' then
    local taken = key.taken(version, owner)
    if not redis.call('LPOS', taken, id) then redis.call('RPUSH', taken, id) end
    redis.call('EXPIRE', taken, 604800)
  end
  redis.call('HSET', record, 'worker', worker, 'entry', entry)
  return {id, redis.call('HGETALL', record), redis.call('SISMEMBER', key.CANCELS, id)}
end
