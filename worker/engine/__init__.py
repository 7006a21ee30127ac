"""The step-level engine: rows of many requests, one network evaluation at a time; torch only.

    weights.py    a model on a device, and what a row may be drawn for: a condition is a tensor
    work.py       what goes in and comes out: works, their rows, events
    engine.py     every running work, a step at a time; what fails is found and set apart
    fairness.py   which rows run: each owner the same, then each of its works
    chunks.py     a step's places, cut into chunks for the cores
    staging.py    what a step needs to know of its rows, in one buffer
    batch.py      the rows' pixels in their slots, and the arithmetic of one step
    graphs.py     the same as captured CUDA graphs
    memory.py     how many places a step may take, as memory allows
    precision.py  what `EMAKI_PRECISION` means on a device
    probe.py      which sizes of chunks a model is evaluated in, tried when it is loaded
    sensitive.py  makes the order of a network's sums show, to find sizes that compute the same bits
    runner.py     the engine's own thread, and the queues to and from it

Knows no Redis, RQ, HTTP or wire.
"""
