"""The life of a generation: every transition, each atomic, each harmless when it is repeated.

                     admit                take, start               finish
    (nothing) ───────────────▶ queued ─────────────────▶ running ─────────────▶ succeeded
                              │  ▲  │                    │  ▲  │               ▶ failed
                        lapse │  └──┼──── requeue ───────┘  │  │ finish        ▶ canceled
                       cancel │     │   (still "running";   │  │ (a cancel it was asked for,
                              ▼     └────── take ───────────┘  ▼  or an error)
                     failed, canceled                    failed, canceled

    `delete` removes it from wherever it is; what has ended expires, and `gone` remembers it.

Each transition is a `.lua` file beside the typed function that fills its named arguments and
returns a `Call`; app and worker only run calls (`Life`, `AsyncLife`), a worker many `together`.
`take` moves jobs from the queue into a worker's hand (`open` does where RQ has popped one); what a
worker tells and hears between two steps is one round trip. Delivery is at least once: two workers
may hold the same generation for a while, after a crash or a pause. So every change is conditional
on the state, and what a worker says counts only while it is the one in `worker`.

    script.py     a `.lua` file with named arguments; calls as values; what runs them
    queueing.py   admit, look, take, open, cancels, requeue, forget, settle
    drawing.py    drawing, start, progress, preview, image, strip
    ending.py     finish, cancel, lapse, delete
    delivering.py claim, told, resend: what webhooks are told
    uploading.py  upload, discard: pictures that clients send; remove: files that had their time
    shared/       what several scripts do: emit an event, tell a webhook, count, take in hand, end

A cancel, from route to engine:

 1. `POST /v1/generations/{id}/cancel` reaches `app.routes.generations.cancel`, which runs `cancel`.
 2. `cancel.lua` finds the id in RQ's list: it is canceled there and then, `done` is emitted, over.
 3. It is not there: a worker has it in hand. The id goes into `emaki:cancels`; the route waits for
    news of it (`app.wakes`), five seconds at most.
 4. Between two steps, `worker.dispatch` hears which of its ids are in there (`cancels`).
 5. `Runner.cancel` puts that into the engine's inbox; before its next step the engine drops the
    work's rows, and its neighbours keep theirs.
 6. The engine's `Canceled` event makes dispatch run `finish` with the status canceled.
 7. `finish.lua` checks that this worker still holds it, ends it, and takes it out of the cancels.
 8. `done` is in the stream, whoever waits is woken, and the route answers with the object.
 9. Did the worker die before 6? `requeue` puts the id back; whoever takes it sees the cancel.
10. Was it deleted meanwhile? Then there is no record, and `forget_cancels` drops the wish.
"""

from wire.life.delivering import Delivery, claim, resend, told
from wire.life.drawing import drawing, image, preview, progress, start, strip
from wire.life.ending import (
    REMEMBER_SECONDS,
    Canceled,
    abort,
    cancel,
    delete,
    finish,
    lapse,
    lapse_unread,
)
from wire.life.queueing import (
    Admission,
    Hand,
    Looked,
    Outcome,
    Taken,
    admit,
    cancels,
    forget,
    look,
    open_,
    requeue,
    settle,
    take,
)
from wire.life.script import AsyncLife, Call, Life, append, together
from wire.life.uploading import discard, remove_begun, removed, upload

__all__ = [
    "REMEMBER_SECONDS",
    "Admission",
    "AsyncLife",
    "Call",
    "Canceled",
    "Delivery",
    "Hand",
    "Life",
    "Looked",
    "Outcome",
    "Taken",
    "abort",
    "admit",
    "append",
    "cancel",
    "cancels",
    "claim",
    "delete",
    "discard",
    "drawing",
    "finish",
    "forget",
    "image",
    "lapse",
    "lapse_unread",
    "look",
    "open_",
    "preview",
    "progress",
    "remove_begun",
    "removed",
    "requeue",
    "resend",
    "settle",
    "start",
    "strip",
    "take",
    "together",
    "told",
    "upload",
]
