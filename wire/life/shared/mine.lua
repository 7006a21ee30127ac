-- Whether this worker holds the generation, and may draw it: one that slept may no more.
local function mine(wanted)
  local state = redis.call('HMGET', key.generation(id), 'status', 'worker')
  if state[2] ~= worker then return false end
  return state[1] == 'running' or (wanted == 'open' and state[1] == 'queued')
end
