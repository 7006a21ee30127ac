-- The next jobs, at most so many, for a worker that takes them in hand: each for the owner who has
-- fewest in hand there; then the one who waited longest. Only jobs for versions that it can draw,
-- and what is no generation at all, to be dropped.
-- The waiting lists are an index: only what is still in the queue's list counts.
-- The same take again, because its answer was lost, takes nothing more and answers the same.
-- Answers what `in_hand` does, for each.
-- args: now versions held room overcommit most worker rq_worker execution abandoned_at moment
-- uses: in_hand
local can, in_hand_of, places = {}, cjson.decode(held), tonumber(room)
for _, version in ipairs(cjson.decode(versions)) do can[version] = true end

-- One of high priority need not wait until one of those in hand ends.
local function most_of(version, owner, count)
  local usual = tonumber(overcommit)
  if count < usual then return usual end
  local first = redis.call('ZRANGE', key.waiting(version, owner), 0, 0)[1]
  local high = first and redis.call('HGET', key.generation(first), 'priority') == 'high'
  return high and 2 * usual or usual
end

local function next_one()
  while true do
    local version, owner, fewest, since
    for _, waited_for in ipairs(redis.call('SMEMBERS', key.WAITING)) do
      if can[waited_for] then
        local owners = redis.call('ZRANGE', key.owners(waited_for), 0, 255, 'WITHSCORES')
        if #owners == 0 then redis.call('SREM', key.WAITING, waited_for) end
        for i = 1, #owners, 2 do
          local count, score = in_hand_of[owners[i]] or 0, tonumber(owners[i + 1])
          local allowed = places > 0 or count < most_of(waited_for, owners[i], count)
          local better = not fewest or count < fewest or (count == fewest and score < since)
          if allowed and better then
            version, owner, fewest, since = waited_for, owners[i], count, score
          end
        end
      end
    end
    if not version then return nil end
    local id = redis.call('ZPOPMIN', key.waiting(version, owner))[1]
    if not id then
      redis.call('ZREM', key.owners(version), owner)
    else
      redis.call('ZADD', key.owners(version), now, owner)
      if redis.call('LREM', key.QUEUE_LIST, 1, id) == 1 then return id, owner end
    end
  end
end

local taken = {}
local last = redis.call('HMGET', key.took(worker), 'execution', 'ids')
if last[1] == execution then
  for _, id in ipairs(cjson.decode(last[2])) do
    local entry = redis.call('HGET', key.generation(id), 'entry')
    if entry == id .. ':' .. execution then taken[#taken + 1] = in_hand(id) end
  end
  return taken
end

local ids = {}
while #taken < tonumber(most) do
  local id, owner = next_one()
  if not id then break end
  taken[#taken + 1] = in_hand(id)
  ids[#ids + 1] = id
  in_hand_of[owner] = (in_hand_of[owner] or 0) + 1
  places = places - tonumber(redis.call('HGET', key.generation(id), 'batch') or 0)
end
if #taken > 0 then
  redis.call('HSET', key.took(worker), 'execution', execution, 'ids', cjson.encode(ids))
  redis.call('EXPIRE', key.took(worker), 86400)
  return taken
end

for _, id in ipairs(redis.call('LRANGE', key.QUEUE_LIST, 0, 15)) do
  if redis.call('EXISTS', key.generation(id)) == 0 then
    redis.call('LREM', key.QUEUE_LIST, 1, id)
    taken[#taken + 1] = in_hand(id)
  end
end
return taken
