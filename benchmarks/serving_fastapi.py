"""FastAPI calling diffusers, as one writes it first; a peer of `benchmarks.serving`.

Runs in the peers' environment. Each request is drawn by itself, all cores on it, one after another
in one thread. That is kind to it: threads that draw at once each have OpenMP's threads of their
own, and get in each other's way.
"""

import argparse
import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from benchmarks.diffusers_peer import Answer, Diffusers


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    app, drawer, one = FastAPI(), Diffusers(arguments.folder), ThreadPoolExecutor(1)

    @app.get("/health")
    async def health() -> str:
        return "ok"

    @app.post("/predict")
    async def predict(request: dict[str, Any]) -> Answer:
        loop = asyncio.get_running_loop()
        return (await loop.run_in_executor(one, drawer.draw, [request]))[0]

    uvicorn.run(app, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
