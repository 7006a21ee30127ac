"""Edit a picture: `python examples/edit.py sneaker.png "Ankle boot"`; a strength may follow.

It is made as noisy as it would be within a drawing, and drawn to its end as something else: the
more strength (0 to 1), the less of it stays.
"""

import sys
from pathlib import Path

import emaki

path, wanted = Path(sys.argv[1]), sys.argv[2]
strength = float(sys.argv[3]) if len(sys.argv) > 3 else 0.7
model = emaki.load("fashion-mnist")
(edited,) = model.draw(wanted, init_image=path, strength=strength, seed=1)
written = edited.save_png(path.with_name(f"{path.stem}-edited.png"))
print(f"{written}: {edited.class_name}, {strength:.0%} of the way")
