"""Every Redis key that app and worker share: here, and nowhere else, stands its name.

A `Key` is called with what stands in its braces. The scripts of `wire.life` use the same names
(`key.generation(id)`): `wire.life.script` writes them into the Lua.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """A name with braces for what differs."""

    pattern: str

    def __call__(self, *parts: str) -> str:
        return self.pattern.format(*parts)


# One generation. All but `gone` expire when its results do.
generation = Key("emaki:gen:{}")  # hash: its record (`wire.record`), and a field per finished image
images = Key("emaki:gen:{}:png")  # hash: image index -> PNG; "strip" -> the denoising strip
events = Key("emaki:gen:{}:events")  # stream: what SSE sends; its entry ids are the event ids
upload = Key("emaki:upload:{}")  # hash: a picture that a client sent, and whose; expires as results
gone = Key("emaki:gone:{}")  # string: its owner, for 410 instead of 404

# The queue. RQ's own list says what waits; the rest is an index of it and what limits count.
WAITING = "emaki:waiting"  # set: versions (name@step) that something waits for
owners = Key("emaki:waiting:{}")  # zset by version: owner -> since, or last served when
waiting = Key("emaki:waiting:{}:{}")  # zset by version, owner: id -> its turn, the least next
taken = Key("emaki:taken:{}:{}")  # list by version, owner: ids in a worker's hand and not begun
WAITS = "emaki:waits"  # zset: id -> when it was accepted; until a worker begins it
# hash: "pictures" accepted and not begun; "pictures:<owner>" of each owner; "ranked:<owner>": its
# requests there that are not of normal priority
QUEUED = "emaki:queued"
UNFINISHED = "emaki:unfinished"  # hash: owner -> generations accepted and not ended
BACKLOG = "emaki:backlog"  # hash: owner -> network evaluations accepted and not made
DRAWN = "emaki:drawn"  # hash: owner -> evaluations made or dropped since its backlog began
CANCELS = "emaki:cancels"  # set: ids that a worker should stop
took = Key("emaki:took:{}")  # hash by worker: its last take that found something, and the ids
batch = Key("emaki:batch:{}")  # string by worker: the ids in its last step's batch

# An owner: an API key, by the start of its digest; "" where the server has none.
history = Key("emaki:history:{}")  # zset: its generations, in the order of their creation
stored = Key("emaki:stored:{}")  # hash: id -> bytes that it keeps in Redis, and their "total"
kept = Key("emaki:kept:{}")  # zset: id -> Unix time at which those bytes go
idempotency = Key("emaki:idempotency:{}:{}")  # hash by owner, digest: generation, first answer
RATES = "emaki:rate"  # what the keys of the limits library begin with, in the API

# Webhooks (`wire.life.delivering`).
deliveries = Key("emaki:deliveries:{}")  # list by generation: messages to be told, first first
tries = Key("emaki:tries:{}")  # string by generation: failed tries of its first message
due = Key("emaki:due:{}")  # zset by owner's receiver: generation -> when its first is due
RECEIVERS = "emaki:receivers"  # set: owners' receivers that something is for
dead = Key("emaki:dead:{}")  # hash by owner: message id -> a message that was given up
died = Key("emaki:died:{}")  # zset by owner: message id -> when that was

# Models and workers.
MODELS = "emaki:models"  # hash: version -> its card; outlives the workers
SERVED = "emaki:served"  # zset: version -> when a worker last served it as its model's LATEST
DRAWABLE = "emaki:drawable"  # zset: version -> when a worker could last draw it
WORKERS = "emaki:workers"  # set: names of workers
worker = Key("emaki:worker:{}")  # string: its `WorkerState`, while it is alive

METRICS = "emaki:metrics"  # hash: what workers count, for /metrics (`wire.metrics`)
IMAGES_KEPT = "emaki:images"  # zset: ids with files outside Redis -> Unix time at which they may go
WAKE = "emaki:wake"  # channel: "<id> <event>", as its stream grows; "<id> done" as it goes

# RQ's names for one queue, `QUEUE`; `tests/wire` compares them with RQ's.
QUEUE = "emaki"
QUEUE_LIST = "rq:queue:emaki"  # list: ids that wait, next first
POPPED = "rq:queue:emaki:intermediate"  # list: ids that RQ has popped, for a moment
STARTED = "rq:wip:emaki"  # zset: "<id>:<execution>" -> when it counts as abandoned
job = Key("rq:job:{}")  # hash: RQ's job
FUNCTION = "emaki.generate"  # the job's function name: data, never imported or called

STRIP, INIT, MASK = "strip", "init", "mask"  # fields beside the images
