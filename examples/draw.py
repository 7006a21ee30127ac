"""Draw pictures in this process; no service is needed."""

import emaki

model = emaki.load("fashion-mnist")
print(model, "draws", ", ".join(model.card.classes))

pictures = model.draw("Sneaker", n=9, seed=1, scale=4)
pictures.grid.save("sneakers.png")

# Each is a PIL image that knows how to draw it again, whatever it was drawn beside.
again = model.draw(**pictures[4].parameters)
assert again[0].png_bytes == pictures[4].png_bytes
print(pictures[4].parameters)
