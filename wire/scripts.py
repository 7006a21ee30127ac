"""Lua that moves a generation from one state to the next, atomically.

Delivery is at least once: two workers may hold the same request for a while, after a crash or a
pause. So every change is conditional on the state, and repeating one changes nothing: an image is
announced once, and a generation ends once.

`finish_call` builds what FINISH (run by the worker) and CANCEL (run by the API) both take.

In each script KEYS[1] is the record, KEYS[2] the event stream, ARGV[1] the generation's id.
"""

import json
import time

from wire import keys
from wire.record import Record
from wire.schemas import ErrorInfo, Status

_EMIT = """
local function emit(name, data)
  redis.call('XADD', KEYS[2], '*', 'event', name, 'data', data)
  redis.call('PUBLISH', 'emaki:wake', ARGV[1])
end
"""

# What is accepted and not begun is counted, for the queue's limit and for estimates.
LEAVE_QUEUE = """
local function leave_queue()
  local size = redis.call('HMGET', KEYS[1], 'batch', 'work')
  redis.call('HINCRBY', 'emaki:queued', 'pictures', -tonumber(size[1] or 0))
  redis.call('HINCRBY', 'emaki:queued', 'row_steps', -tonumber(size[2] or 0))
end
"""

# Reads what was taken from the queue, and takes it off its owner's waiting list. From now on it is
# this worker's; one that had it before, and slept, lets go when it wakes.
# ARGV: id, worker. Returns {record's fields and values, whether a client wants it canceled}.
OPEN = """
local record = redis.call('HGETALL', KEYS[1])
local found = redis.call('HMGET', KEYS[1], 'model', 'owner', 'status')
if found[1] and found[2] then
  redis.call('LREM', 'emaki:waiting:' .. found[1] .. ':' .. found[2], 1, ARGV[1])
end
if found[3] == 'queued' or found[3] == 'running' then
  redis.call('HSET', KEYS[1], 'worker', ARGV[2])
end
return {record, redis.call('SISMEMBER', 'emaki:cancels', ARGV[1])}
"""

# ARGV: id, now, status event, worker. Returns 1, or 0 if it has ended or is another worker's.
START = (
    _EMIT
    + LEAVE_QUEUE
    + """
local state = redis.call('HMGET', KEYS[1], 'status', 'worker')
if state[1] ~= 'queued' and state[1] ~= 'running' or state[2] ~= ARGV[4] then return 0 end
if state[1] == 'queued' then
  leave_queue()
  redis.call('HSET', KEYS[1], 'status', 'running', 'started', ARGV[2])
  emit('status', ARGV[3])
end
return 1
"""
)

# A worker's death is this generation's doing from now on, unless it has been deleted.
ISOLATE = """
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'isolated', '1') end
"""

# ARGV: id, worker, image-steps done, estimated end, progress event.
# Returns 0 if it has ended, or if another worker has taken it over.
PROGRESS = (
    _EMIT
    + """
local state = redis.call('HMGET', KEYS[1], 'status', 'worker')
if state[1] ~= 'running' or state[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'row_steps', ARGV[3], 'eta', ARGV[4])
emit('progress', ARGV[5])
return 1
"""
)

# ARGV: id, worker, preview event.
PREVIEW = (
    _EMIT
    + """
local state = redis.call('HMGET', KEYS[1], 'status', 'worker')
if state[1] ~= 'running' or state[2] ~= ARGV[2] then return 0 end
emit('preview', ARGV[3])
return 1
"""
)

# KEYS[3]: PNGs. ARGV: id, record field, image facts, index, PNG (empty: it is a file), event.
# Returns the facts of the image that is kept: the first one that came.
IMAGE = (
    _EMIT
    + """
if redis.call('HGET', KEYS[1], 'status') ~= 'running' then return ARGV[3] end
if redis.call('HSETNX', KEYS[1], ARGV[2], ARGV[3]) == 0 then
  return redis.call('HGET', KEYS[1], ARGV[2])
end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[3], ARGV[4], ARGV[5]) end
emit('image', ARGV[6])
return ARGV[3]
"""
)

# KEYS[3]: PNGs. ARGV: id, PNG of the strip (empty: it is a file).
STRIP = """
if redis.call('HGET', KEYS[1], 'status') ~= 'running' then return 0 end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[3], 'strip', ARGV[2]) end
return 1
"""

_END = (
    _EMIT
    + LEAVE_QUEUE
    + """
local status = redis.call('HGET', KEYS[1], 'status')
local over = status ~= 'queued' and status ~= 'running'
local function finish()
  if status == 'queued' then leave_queue() end
  redis.call('HSET', KEYS[1], 'status', ARGV[2], 'finished', ARGV[3], 'error', ARGV[4])
  emit('done', ARGV[5])
  for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[6]) end
  redis.call('ZADD', 'emaki:images', 'XX', ARGV[3] + ARGV[6], ARGV[1])
  local owner = redis.call('HGET', KEYS[1], 'owner') or ''
  redis.call('SET', KEYS[4], owner, 'EX', ARGV[7])
  redis.call('SREM', KEYS[5], ARGV[1])
  redis.call('HINCRBY', 'emaki:metrics', 'generations:' .. ARGV[2], 1)
  redis.call('EXPIRE', 'emaki:history:' .. owner, ARGV[7])
end
"""
)

# KEYS[3]: PNGs, KEYS[4]: the "gone" mark, KEYS[5]: cancels.
# ARGV: id, status, now, error, done event, seconds to keep, seconds to remember.
FINISH = (
    _END
    + """
if over then
  redis.call('SREM', KEYS[5], ARGV[1])
  if not status then redis.call('ZADD', 'emaki:images', 'XX', 0, ARGV[1]) end
  return 0
end
finish()
return 1
"""
)

# The same, then KEYS[6]: the queue's list, KEYS[7]: its owner's waiting list, KEYS[8]: its job.
# Returns -1: already finished; 1: it is canceled, now or by a call whose answer was lost; 0: its
# worker is asked to stop.
CANCEL = (
    _END
    + """
if over then return status == 'canceled' and 1 or -1 end
redis.call('LREM', KEYS[7], 0, ARGV[1])
if redis.call('LREM', KEYS[6], 0, ARGV[1]) == 0 then
  redis.call('SADD', KEYS[5], ARGV[1])
  return 0
end
finish()
redis.call('DEL', KEYS[8])
return 1
"""
)

REMEMBER_SECONDS = 7 * 24 * 3600


def finish_call(
    record: Record, status: Status, error: ErrorInfo | None = None
) -> tuple[list[str], list[str | int]]:
    """End ``record`` now, and return the keys and arguments that say so to Redis."""
    record.status, record.finished = status, time.time()
    record.error, record.eta = error, None
    if status is Status.SUCCEEDED:
        record.row_steps = record.request.batch * record.request.steps
    done = record.generation(now=record.finished).model_dump_json()
    return _end_call(record.id, status, record.finished, error, done, record.result_ttl)


def abort_call(id_: str, error: ErrorInfo, result_ttl: int) -> tuple[list[str], list[str | int]]:
    """The same for a record that cannot be read: it failed, and `done` says no more than that."""
    done = {"id": id_, "status": Status.FAILED.value, "error": error.model_dump()}
    return _end_call(id_, Status.FAILED, time.time(), error, json.dumps(done), result_ttl)


def _end_call(
    id_: str, status: Status, now: float, error: ErrorInfo | None, done: str, result_ttl: int
) -> tuple[list[str], list[str | int]]:
    return (
        [keys.generation(id_), keys.events(id_), keys.images(id_), keys.gone(id_), keys.CANCELS],
        [
            id_,
            status.value,
            repr(now),
            error.model_dump_json() if error else "",
            done,
            result_ttl,
            result_ttl + REMEMBER_SECONDS,
        ],
    )
