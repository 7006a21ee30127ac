// The pictures of the generation on show, as buttons in a grid. Keeps no pixels but its canvases.

import { title } from "./request.js";

export class Tiles {
  /** `onOpen(index)` is called when a finished picture is chosen. */
  constructor(list, { onOpen }) {
    this.list = list;
    this.onOpen = onOpen;
    this.tiles = [];
  }

  /** A blank tile for each picture of a request. */
  lay(request) {
    this.tiles = Array.from({ length: request.batch }, (_, index) => {
      const seed = String(BigInt(request.seed) + BigInt(index));
      return this.#tile(index, title(request, index) ?? "Picture", seed);
    });
    this.list.replaceChildren(...this.tiles.map(({ item }) => item));
    const { batch } = request;
    this.list.dataset.size = batch === 1 ? "one" : batch <= 4 ? "few" : batch <= 16 ? "some" : "many";
  }

  clear() {
    this.tiles = [];
    this.list.replaceChildren();
  }

  at(index) {
    return this.tiles[index];
  }

  /** `draw(canvas, index)` for every tile. */
  each(draw) {
    this.tiles.forEach(({ canvas }, index) => draw(canvas, index));
  }

  /** These pictures are finished: they can be opened; the others came as far as they are shown. */
  settle(images) {
    for (const image of images) {
      const { button, name } = this.tiles[image.index];
      button.disabled = false;
      button.setAttribute("aria-label", `${name}, seed ${image.seed}: show its parameters`);
    }
    const there = new Set(images.map(({ index }) => index));
    this.tiles.forEach(({ item, button, name, step }, index) => {
      item.classList.toggle("missing", !there.has(index));
      if (there.has(index)) return;
      button.setAttribute("aria-label", `${name}, ${step ? `as it was at step ${step}` : "not drawn"}`);
    });
  }

  #tile(index, name, seed) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const canvas = document.createElement("canvas");
    const caption = document.createElement("span");
    const number = document.createElement("small");
    button.type = "button";
    button.disabled = true;
    button.setAttribute("aria-label", `${name}, not finished`);
    caption.textContent = name;
    number.textContent = `seed ${seed}`;
    button.addEventListener("click", () => this.onOpen(index));
    button.append(canvas, caption, number);
    item.append(button);
    return { item, button, canvas, name, step: 0 };
  }
}
