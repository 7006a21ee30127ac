-- What is accepted and not begun, and what is accepted and not drawn: for limits and estimates.
local function less(hash, field, amount)
  if redis.call('HINCRBY', hash, field, 0 - amount) <= 0 then redis.call('HDEL', hash, field) end
end

-- A worker begins it, or it ends before that.
local function leave_queue()
  local found = redis.call('HMGET', key.generation(id), 'batch', 'owner', 'version', 'priority')
  local pictures = tonumber(found[1] or 0)
  less(key.QUEUED, 'pictures', pictures)
  less(key.QUEUED, 'pictures:' .. (found[2] or ''), pictures)
  if found[4] and found[4] ~= 'normal' then
    less(key.QUEUED, 'ranked:' .. (found[2] or ''), 1)
  end
  redis.call('ZREM', key.WAITS, id)
  if found[3] then redis.call('LREM', key.taken(found[3], found[2] or ''), 0, id) end
end

-- So many of its network evaluations are made, or will never be.
local function made(evaluated)
  local found = redis.call('HMGET', key.generation(id), 'owner', 'evaluated')
  local more = evaluated - tonumber(found[2] or 0)
  if more <= 0 then return end
  redis.call('HSET', key.generation(id), 'evaluated', evaluated)
  less(key.BACKLOG, found[1] or '', more)
  redis.call('HINCRBY', key.DRAWN, found[1] or '', more)
end
