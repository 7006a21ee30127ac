"""The step-level engine: rows of many requests, one network evaluation at a time; torch only.

    work.py       what goes in and comes out: weights, works, their rows, events
    engine.py     every running work, a step at a time; what fails is found and set apart
    fairness.py   which rows run: each owner the same, then each of its works
    batch.py      the rows' pixels in their slots, and the arithmetic of one step
    memory.py     how many places a step may take, as memory allows
    precision.py  what `EMAKI_PRECISION` means on a device
    runner.py     the engine's own thread, and the queues to and from it

Knows no Redis, RQ, HTTP or wire.
"""
