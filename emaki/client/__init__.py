"""A service's client on httpx, in two forms that differ by `await` alone. Never imports torch.

calls.py     each request and how its answer is read: no I/O
retries.py   what is tried again, and when: no I/O
events.py    a generation's events, and where to go on: no I/O
results.py   a finished generation's files as pictures: no I/O
sync.py      `Client` and `Handle`
aio.py       `AsyncClient` and `AsyncHandle`
"""
