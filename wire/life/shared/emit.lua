-- Append an event to the stream that clients follow, and wake those who wait for it, or for `done`.
local function emit(name, data)
  redis.call('XADD', key.events(id), '*', 'event', name, 'data', data)
  redis.call('HINCRBY', key.generation(id), 'bytes', #data)
  redis.call('PUBLISH', key.WAKE, id .. ' ' .. name)
end
