// The dialog that draws nine pictures at once around one: its variations, or a strip to another.

import { ApiError, blob, json } from "./api.js";
import { save } from "./download.js";
import { drawBlob, drawNoise } from "./pixels.js";
import { animation } from "./png.js";
import { body } from "./request.js";

const NINE = 9;
const CENTRE = 4;
const FRAME_MS = 250;
const POLL_MS = 500;
const SEEDS = 2 ** 32;

export class Explore {
  /** `onOpen(generation)` is called when one of the nine is chosen. */
  constructor(dialog, { onOpen }) {
    this.dialog = dialog;
    this.onOpen = onOpen;
    this.drawing = new AbortController();
    this.form = dialog.querySelector("form");
    this.list = dialog.querySelector("ol");
    this.message = dialog.querySelector("#explore-message");
    this.saving = dialog.querySelector("#explore-save");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#draw();
    });
    this.saving.addEventListener("click", () => this.#save());
    dialog.querySelector("#explore-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.drawing.abort());
  }

  /** Nine pictures around this one: it stands in the middle. */
  variations(asked, name) {
    this.#open("variations", asked, `Variations of ${name}`);
  }

  /** Nine pictures on the way from this one's seed to another's. */
  between(asked, name) {
    this.#open("between", asked, `From ${name} to another seed`);
    this.form.elements.other.value = Math.floor(Math.random() * SEEDS);
  }

  #open(kind, asked, title) {
    Object.assign(this, { kind, asked });
    this.dialog.dataset.kind = kind;
    this.dialog.querySelector("#explore-title").textContent = title;
    for (const field of this.form.querySelectorAll("[data-for]")) {
      field.hidden = field.dataset.for !== kind;
    }
    this.message.textContent = "";
    this.list.replaceChildren();
    this.saving.hidden = true;
    this.dialog.showModal();
    if (kind === "variations") this.#draw();
  }

  /** What each of the nine is. */
  #nine() {
    const { strength, other } = this.form.elements;
    const cells = Array.from({ length: NINE }, (_, i) => i);
    if (this.kind === "between") {
      const seed = other.value.trim();
      return cells.map((i) => this.#mixed(seed, i / (NINE - 1)));
    }
    const share = strength.valueAsNumber;
    const first = Math.floor(Math.random() * SEEDS);
    return cells.map((i) => (i === CENTRE ? this.asked : this.#mixed(String(first + i), share)));
  }

  #mixed(seed, share) {
    return { ...this.asked, variation_seed: seed, variation_strength: share };
  }

  async #draw() {
    if (this.kind === "between" && !/^\d+$/.test(this.form.elements.other.value.trim())) {
      this.message.textContent = "The other seed is no whole number; type digits.";
      return;
    }
    this.drawing.abort();
    this.drawing = new AbortController();
    const { signal } = this.drawing;
    this.saving.hidden = true;
    this.message.textContent = "Drawing nine pictures …";
    const asked = this.#nine();
    const cells = asked.map((request) => this.#cell(request));
    this.list.replaceChildren(...cells.map(({ item }) => item));
    try {
      this.files = await Promise.all(asked.map((request, i) => this.#one(request, cells[i], signal)));
      this.message.textContent = this.kind === "between" ? "Choose one, or keep the whole way." : "Choose one.";
      this.saving.hidden = this.kind !== "between";
    } catch (error) {
      if (signal.aborted) return;
      this.drawing.abort();
      if (!(error instanceof ApiError)) throw error;
      this.message.textContent = error.message;
    }
  }

  #cell(request) {
    const [item, button, canvas] = ["li", "button", "canvas"].map((tag) => document.createElement(tag));
    button.type = "button";
    button.disabled = true;
    const share = request.variation_strength;
    const label = share === undefined ? "The picture itself" : `${Math.round(share * 100)} % of seed ${request.variation_seed}`;
    button.setAttribute("aria-label", label);
    button.title = label;
    drawNoise(canvas, { width: 28, height: 28, channels: 1 });
    button.append(canvas);
    item.append(button);
    return { item, button, canvas };
  }

  /** Draw one of the nine into its cell; its file. */
  async #one(request, { button, canvas }, signal) {
    let generation = await json("/v1/generations", {
      method: "POST",
      headers: { "content-type": "application/json", Prefer: "wait=30" },
      body: body(request),
      signal,
    });
    while (!generation.finished_at) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      generation = await json(generation.urls.self, { signal });
    }
    if (generation.status !== "succeeded") {
      throw new ApiError(500, generation.error?.detail ?? `It was ${generation.status}.`);
    }
    const file = await blob(generation.images[0].url, { signal });
    await drawBlob(canvas, file);
    button.disabled = false;
    button.addEventListener("click", () => {
      this.dialog.close();
      this.onOpen(generation);
    });
    return file;
  }

  async #save() {
    const buffers = await Promise.all(this.files.map((file) => file.arrayBuffer()));
    // There and back again, so that it has no jump.
    const way = [...buffers, ...buffers.slice(1, -1).reverse()];
    const seeds = `${this.asked.seed}-${this.form.elements.other.value.trim()}`;
    save(animation(way, { milliseconds: FRAME_MS }), `emaki-between-${seeds}.png`);
    this.message.textContent = "Saved as an animated PNG.";
  }
}
