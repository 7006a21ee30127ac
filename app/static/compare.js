// Two pictures side by side, and where their parameters differ.

import { ApiError, blob } from "./api.js";
import { parameters } from "./drawing.js";
import { drawBlob } from "./pixels.js";
import { title } from "./request.js";
import { headings, row } from "./tables.js";

export class Compare {
  constructor(dialog) {
    this.dialog = dialog;
    this.canvases = [...dialog.querySelectorAll("canvas")];
    this.message = dialog.querySelector("#compare-message");
    dialog.querySelector("#compare-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // beside the sheet: on its backdrop
    });
  }

  /** Both are `{generation, index}`, the index of a picture that is there. */
  async show(...both) {
    const images = both.map(({ generation, index }) => generation.images.find((image) => image.index === index));
    const rows = both.map(({ generation }, side) => new Map(parameters(generation, images[side])));
    const names = [...new Set(rows.flatMap((one) => [...one.keys()]))];
    const table = this.dialog.querySelector("table");
    const body = document.createElement("tbody");
    body.append(...names.map((name) => compared(name, rows.map((one) => one.get(name) ?? "none"))));
    const titles = both.map(({ generation, index }) => title(generation.request, index) ?? "Picture");
    table.replaceChildren(headings(titles), body);
    const differing = body.querySelectorAll(".differs").length;
    this.message.textContent = differing ? "" : "They were drawn with the same parameters.";
    this.canvases.forEach((canvas, side) => {
      canvas.setAttribute("aria-label", `${titles[side]}, seed ${images[side].seed}`);
    });
    if (!this.dialog.open) this.dialog.showModal();
    try {
      await Promise.all(images.map(async ({ url }, side) => drawBlob(this.canvases[side], await blob(url))));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.message.textContent = error.message;
    }
  }
}

/** A row; what differs is said in words, too: not everyone sees the mark. */
function compared(name, values) {
  const differs = values[0] !== values[1];
  const line = row(name, values);
  line.classList.toggle("differs", differs);
  if (!differs) return line;
  const words = document.createElement("span");
  words.className = "unseen";
  words.textContent = " (differs)";
  line.firstElementChild.append(words);
  return line;
}
