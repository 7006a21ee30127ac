-- The next job for the owner who has fewest in hand here; then the one who waited longest. Only
-- jobs for versions that this worker can draw, and what is no generation at all, to be dropped.
-- The waiting lists are an index: only what is still in the queue's list counts.
-- Answers an id, which is in the popped list now, or nothing.
-- args: now versions held room overcommit
local can, in_hand = {}, cjson.decode(held)
for _, version in ipairs(cjson.decode(versions)) do can[version] = true end

while true do
  local version, owner, fewest, since
  for _, waited_for in ipairs(redis.call('SMEMBERS', key.WAITING)) do
    if can[waited_for] then
      local owners = redis.call('ZRANGE', key.owners(waited_for), 0, 255, 'WITHSCORES')
      if #owners == 0 then redis.call('SREM', key.WAITING, waited_for) end
      for i = 1, #owners, 2 do
        local count, score = in_hand[owners[i]] or 0, tonumber(owners[i + 1])
        local allowed = room == '1' or count < tonumber(overcommit)
        local better = not fewest or count < fewest or (count == fewest and score < since)
        if allowed and better then
          version, owner, fewest, since = waited_for, owners[i], count, score
        end
      end
    end
  end
  if not version then break end
  local id = redis.call('LPOP', key.waiting(version, owner))
  if not id then
    redis.call('ZREM', key.owners(version), owner)
  else
    redis.call('ZADD', key.owners(version), now, owner)
    if redis.call('LREM', key.QUEUE_LIST, 1, id) == 1 then
      redis.call('RPUSH', key.POPPED, id)
      return id
    end
  end
end

for _, id in ipairs(redis.call('LRANGE', key.QUEUE_LIST, 0, 15)) do
  if redis.call('EXISTS', key.generation(id)) == 0 then
    redis.call('LREM', key.QUEUE_LIST, 1, id)
    redis.call('RPUSH', key.POPPED, id)
    return id
  end
end
return false
