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
      return this.#tile(index, title(request, index) ?? "Picture");
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

  /** These pictures are finished: they can be opened; tiles without one go away. */
  settle(images) {
    for (const image of images) {
      const { button, name } = this.tiles[image.index];
      button.disabled = false;
      button.setAttribute("aria-label", `${name}, seed ${image.seed}: show its parameters`);
    }
    const there = new Set(images.map(({ index }) => index));
    this.tiles.forEach(({ item }, index) => item.classList.toggle("missing", !there.has(index)));
  }

  #tile(index, name) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const canvas = document.createElement("canvas");
    const caption = document.createElement("span");
    button.type = "button";
    button.disabled = true;
    button.setAttribute("aria-label", `${name}, not finished`);
    caption.textContent = name;
    button.addEventListener("click", () => this.onOpen(index));
    button.append(canvas, caption);
    item.append(button);
    return { item, button, canvas, name, step: 0 };
  }
}
