-- A record; while it waits also its place among what its version's workers take, and the network
-- evaluations until it is drawn, its own included, and of all that is accepted and not drawn.
--
-- Owners share the workers evenly, and an owner's requests in hand share what is that owner's; who
-- has others beside it is done when each of them has had as much, or all that it wants. Of an owner
-- with more requests than a worker takes, those that are further in front are drawn before: in the
-- order in which they came, or, where their priorities differ, in that of their turns, and then each
-- counts as large as another.
-- Answers {fields and values, place (0: popped a moment ago), evaluations, evaluations of all}.
-- args: id overcommit
local record = redis.call('HGETALL', key.generation(id))
local found = redis.call(
  'HMGET', key.generation(id), 'status', 'version', 'owner', 'drawn_by_then', 'evaluations')
if found[1] ~= 'queued' then return {record, 0, 0, 0} end
local version, owner, own = found[2], found[3], tonumber(found[5] or 0)

local drawn = tonumber(redis.call('HGET', key.DRAWN, owner) or 0)
local in_front = math.max(tonumber(found[4] or 0) - drawn, own)
local unfinished = math.max(tonumber(redis.call('HGET', key.UNFINISHED, owner) or 0), 1)
local beside = math.min(unfinished, tonumber(overcommit))
local backlog = math.max(tonumber(redis.call('HGET', key.BACKLOG, owner) or 0), own)
if tonumber(redis.call('HGET', key.QUEUED, 'ranked:' .. owner) or 0) > 0 then
  local behind = redis.call('ZRANK', key.waiting(version, owner), id)
  local hand = redis.call('LLEN', key.taken(version, owner))
  local all_of_it = hand + redis.call('ZCARD', key.waiting(version, owner))
  local rank = behind and behind + hand or 0
  in_front = own + (backlog - own) * math.min(1, rank / math.max(1, all_of_it - 1))
end
local share = beside / unfinished
local mine = in_front * (1 - share) + math.min(backlog * share, beside * own)
local before, all = mine, backlog
local backlogs = redis.call('HGETALL', key.BACKLOG)
for i = 1, #backlogs, 2 do
  if backlogs[i] ~= owner then
    local theirs = tonumber(backlogs[i + 1])
    before, all = before + math.min(theirs, mine), all + theirs
  end
end
before = math.floor(before + 0.5)

-- What a worker has in hand goes before what waits.
local function taken_by(whose)
  return redis.call('LLEN', key.taken(version, whose))
end
local index = redis.call('LPOS', key.taken(version, owner), id)
local waits, since = not index, 0
if waits then
  index = redis.call('ZRANK', key.waiting(version, owner), id)
  if not index then return {record, 0, before, all} end
  index = taken_by(owner) + index
  since = tonumber(redis.call('ZSCORE', key.owners(version), owner) or 0)
end
local place = index + 1
local others = redis.call('ZRANGE', key.owners(version), 0, 255, 'WITHSCORES')
for i = 1, #others, 2 do
  if others[i] ~= owner then
    local turns = tonumber(others[i + 1]) < since and index + 1 or index
    local theirs = taken_by(others[i])
    if waits then theirs = theirs + redis.call('ZCARD', key.waiting(version, others[i])) end
    place = place + math.min(theirs, turns)
  end
end
return {record, place, before, all}
