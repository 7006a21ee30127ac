-- A record; while it waits also its place among what its version's workers take, and the network
-- evaluations until it is drawn, its own included. Owners share the workers evenly, so of each
-- other owner's backlog at most as much comes before it as of its own.
-- Answers {fields and values, place (0: popped a moment ago), evaluations}.
-- args: id
local record = redis.call('HGETALL', key.generation(id))
local found = redis.call(
  'HMGET', key.generation(id), 'status', 'version', 'owner', 'drawn_by_then', 'evaluations')
if found[1] ~= 'queued' then return {record, 0, 0} end
local version, owner = found[2], found[3]

local drawn = tonumber(redis.call('HGET', key.DRAWN, owner) or 0)
local mine = math.max(tonumber(found[4] or 0) - drawn, tonumber(found[5] or 0))
local before = mine
local backlogs = redis.call('HGETALL', key.BACKLOG)
for i = 1, #backlogs, 2 do
  if backlogs[i] ~= owner then before = before + math.min(tonumber(backlogs[i + 1]), mine) end
end

-- What a worker has in hand goes before what waits.
local function in_front(whose)
  return redis.call('LLEN', key.taken(version, whose))
end
local index = redis.call('LPOS', key.taken(version, owner), id)
local waits, since = not index, 0
if waits then
  index = redis.call('LPOS', key.waiting(version, owner), id)
  if not index then return {record, 0, before} end
  index = in_front(owner) + index
  since = tonumber(redis.call('ZSCORE', key.owners(version), owner) or 0)
end
local place = index + 1
local others = redis.call('ZRANGE', key.owners(version), 0, 255, 'WITHSCORES')
for i = 1, #others, 2 do
  if others[i] ~= owner then
    local turns = tonumber(others[i + 1]) < since and index + 1 or index
    local theirs = in_front(others[i])
    if waits then theirs = theirs + redis.call('LLEN', key.waiting(version, others[i])) end
    place = place + math.min(theirs, turns)
  end
end
return {record, place, before}
