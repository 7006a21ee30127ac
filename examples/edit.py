"""Edit a picture that was drawn: `python examples/edit.py sneaker.png "Ankle boot"`.

Its file says how it was drawn. The noise stays, and is made into something else.
"""

import sys
from pathlib import Path

import emaki

path, wanted = Path(sys.argv[1]), sys.argv[2]
picture = emaki.Picture.read(path)
model = emaki.load(picture.parameters["model"].partition("@")[0])
(edited,) = model.draw(**{**picture.parameters, "class": wanted})
written = edited.save_png(path.with_name(f"{path.stem}-edited.png"))
print(f"{written}: {edited.class_name} instead of {picture.class_name}")
