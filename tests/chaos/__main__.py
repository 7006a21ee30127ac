"""`make chaos`: the long form; `python -m tests.chaos --seconds 600 --seed 7`."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.harness import run_chaos


def main() -> int:
    """Print the accounts; 1 if anything was lost, failed, doubled or changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--sleep", type=float, default=20, help="of a worker, and Redis's absence")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        accounts = run_chaos(
            Path(folder), seconds=arguments.seconds, sleep=arguments.sleep, seed=arguments.seed
        )
    print(accounts)
    bad = accounts.lost + accounts.failed + accounts.duplicated + accounts.differing
    for line in bad:
        print(line)
    return 1 if bad or accounts.succeeded != accounts.submitted else 0


if __name__ == "__main__":
    sys.exit(main())
