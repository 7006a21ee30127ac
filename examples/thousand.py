"""A thousand pictures into a folder: `python examples/thousand.py`, or another number of them.

For one that goes on where it stopped: `emaki draw Sneaker -n 1000 --out sneakers/`.
"""

import sys

import emaki

count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
with emaki.Client() as client:
    pictures = client.draw("Sneaker", n=count, seed=1)
paths = pictures.save("sneakers")
print(f"{len(paths)} pictures and metadata.jsonl in {paths[0].parent}/")
