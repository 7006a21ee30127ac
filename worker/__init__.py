"""The GPU (or CPU) process, `python -m worker`: takes requests, draws them, tells Redis.

__main__.py   puts the process together
jobs.py       RQ, in this one file: jobs taken, kept alive, given back, recovered
dispatch.py   a record becomes a work, the engine's events become results
engine/       the step-level engine: torch only
ledger.py     what Redis is told of each generation in hand
presence.py   that this worker lives, what it can draw and how fast
outbox.py     calls to Redis that wait, in order, and go in few round trips
catalog.py    the models in memory, and their cards
warm.py       a picture before the first request, which would pay for what is loaded lazily
words.py      what pictures are drawn for: classes or words as tensors
inputs.py     what pictures begin from: init pictures and masks as tensors
render.py     pixels to PNG bytes
images.py     pictures as files, where they are not in Redis
meter.py      how fast the engine is
health.py     a container's health check
"""
