"""LitServe with dynamic batching around diffusers; a peer of `benchmarks.serving`.

Runs in the peers' environment. Requests are collected for a moment; those of equal steps are drawn
as one batch, whatever their samplers.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import litserve

from benchmarks.diffusers_peer import Answer, Diffusers, Request

BATCH_TIMEOUT = 0.05  # seconds in which a batch fills


class Drawing(litserve.LitAPI):  # type: ignore[misc]  # not in our environment
    """Lives in a process of LitServe's, so it is found by its name and carries a path."""

    folder: Path
    drawer: Diffusers

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's name
        self.drawer = Diffusers(self.folder)

    def decode_request(self, request: Request) -> Request:
        return request

    def batch(self, inputs: list[Request]) -> list[Request]:
        return inputs

    def predict(self, inputs: list[Request]) -> list[Answer]:
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for place, request in enumerate(inputs):
            groups[request["steps"]].append(place)
        answers: dict[int, Answer] = {}
        for places in groups.values():
            drawn = self.drawer.draw([inputs[place] for place in places])
            answers.update(zip(places, drawn, strict=True))
        return [answers[place] for place in range(len(inputs))]

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        return output

    def encode_response(self, output: Answer) -> Answer:
        return output


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--batch", type=int, default=16, help="most requests in a batch")
    arguments = parser.parse_args()
    api = Drawing(max_batch_size=arguments.batch, batch_timeout=BATCH_TIMEOUT)
    api.folder = arguments.folder
    server = litserve.LitServer(api, accelerator="cpu", timeout=False)
    server.run(port=arguments.port, host="127.0.0.1", generate_client_file=False, log_level="error")


if __name__ == "__main__":
    main()
