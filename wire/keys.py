"""Every Redis key that app and worker share.

emaki:gen:<id>          hash    one generation: its record, and an entry per finished image
emaki:gen:<id>:png      hash    image index -> PNG bytes; "strip" -> the denoising strip
emaki:gen:<id>:events   stream  what SSE sends, in order; its entry ids are the event ids
emaki:gone:<id>         string  outlives the three above: its owner, for 410 instead of 404
emaki:cancels           set     ids that a worker should stop
emaki:waiting:<model>   zset    owners with requests queued for it -> since, or last served when
emaki:waiting:<model>:<owner>   list    their ids, oldest first; both are an index of RQ's list
emaki:queued            hash    "pictures" and "row_steps" of what is accepted and not begun
emaki:history:<owner>   zset    that owner's generations, in the order of their creation
emaki:idempotency:<..>  hash    an Idempotency-Key's generation, fingerprint and first answer
emaki:rate:<owner>      string  requests in the current minute
emaki:images            zset    ids with files outside Redis -> Unix time at which these may go
emaki:metrics           hash    what workers count, for /metrics (`wire.metrics`)
emaki:models            hash    model name -> its card; outlives the workers
emaki:workers           set     names of workers; each has emaki:worker:<name>, a `WorkerState`,
                                while it is alive
emaki:wake              channel ids whose stream has grown
"""

QUEUE = "emaki"
STRIP = "strip"  # the field beside the images
JOB = "emaki.generate"  # the RQ job's function name: data, never imported or called
CANCELS = "emaki:cancels"
METRICS = "emaki:metrics"
QUEUED = "emaki:queued"
IMAGES_KEPT = "emaki:images"
MODELS = "emaki:models"
WORKERS = "emaki:workers"
WAKE = "emaki:wake"


def generation(id_: str) -> str:
    """The hash with a generation's record."""
    return f"emaki:gen:{id_}"


def images(id_: str) -> str:
    """The hash with a generation's PNGs."""
    return f"emaki:gen:{id_}:png"


def events(id_: str) -> str:
    """The stream of a generation's events."""
    return f"emaki:gen:{id_}:events"


def gone(id_: str) -> str:
    """Marks a generation that once existed."""
    return f"emaki:gone:{id_}"


def owners(model: str) -> str:
    """The owners whose requests are queued for a model (its name, without a step)."""
    return f"emaki:waiting:{model}"


def waiting(model: str, owner: str) -> str:
    """The ids of one owner that are queued for a model."""
    return f"emaki:waiting:{model}:{owner}"


def history(owner: str) -> str:
    """The owner's generations: members sort by their time of creation."""
    return f"emaki:history:{owner}"


def idempotency(owner: str, digest: str) -> str:
    """What one Idempotency-Key of an owner stands for; ``digest`` is the key's SHA-256."""
    return f"emaki:idempotency:{owner}:{digest}"


def rate(owner: str) -> str:
    """How many requests an owner has made in the current minute."""
    return f"emaki:rate:{owner}"


def worker(name: str) -> str:
    """Set while that worker's engine is alive."""
    return f"emaki:worker:{name}"
