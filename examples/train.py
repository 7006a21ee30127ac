"""Train a model on a folder of your own, one folder a class, and look at what it draws.

`python examples/train.py pictures/ --set data.channels=3`: what follows the folder goes to
`emaki train`, whose `--help` explains it. Stop with Ctrl-C and add `--resume` to go on.
"""

import sys

import emaki
from emaki.shipped import find_preset
from training.__main__ import main as training

folder, *options = sys.argv[1:]
asked = ["train", str(find_preset("mnist")), "--data", folder, "--name", "mine", *options]
if code := training(asked):
    sys.exit(code)

model = emaki.load("checkpoints/mine")
classes = model.card.classes
model.draw(classes, n=len(classes), seed=1).grid.save("mine.png")
print(f"mine.png: {', '.join(classes)}")
