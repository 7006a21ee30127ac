"""`make chaos`: the long form; `python -m tests.chaos --requests 100000 --sleep 20 --seed 7`."""

import argparse
import sys
import tempfile
from itertools import islice
from pathlib import Path

from tests.chaos.harness import run_chaos
from tests.chaos.trace import DRAWN, LIGHT

_MOST_COMPLAINTS = 40


def main() -> int:
    """Print the accounts; 1 if anything was lost, doubled, changed or failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="go on until so many are in")
    parser.add_argument("--sleep", type=float, default=20, help="of a worker, and Redis's absence")
    parser.add_argument("--kills", type=int, default=1, help="SIGKILLs of each kind of process")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--network", action="store_true", help="draw with one, more steps each")
    parser.add_argument("--keep", type=Path, help="a folder for logs and Redis's file; not removed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        accounts = run_chaos(
            arguments.keep or Path(folder),
            worker="worker" if arguments.network else "tests.chaos.standin",
            trace=DRAWN if arguments.network else LIGHT,
            requests=arguments.requests,
            sleep=arguments.sleep,
            seed=arguments.seed,
            kills=arguments.kills,
        )
    print(accounts)
    for line in islice(accounts.complaints(), _MOST_COMPLAINTS):
        print(line)
    return 0 if accounts.kept else 1


if __name__ == "__main__":
    sys.exit(main())
