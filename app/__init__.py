"""The HTTP process: FastAPI, no torch. `python -m app`."""
