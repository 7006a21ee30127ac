// The dialog about one picture: large, its own scroll, its parameters, and what to do with it.

import { ApiError, blob, key } from "./api.js";
import { save } from "./download.js";
import { drawBlob } from "./pixels.js";
import { curl, fileName, parameters, single, title } from "./request.js";
import { Scroll } from "./scroll.js";

export class PictureDialog {
  /**
   * `onAgain(request)` is called with what draws the picture again, `onFrom(url)` to begin from it,
   * `onVariations(request, name)` and `onBetween(request, name)` for pictures around it.
   */
  constructor(dialog, { onAgain, onFrom, onVariations, onBetween }) {
    this.dialog = dialog;
    this.onAgain = onAgain;
    this.canvas = dialog.querySelector(".picture-large");
    this.message = dialog.querySelector("#picture-message");
    this.curl = dialog.querySelector("#curl");
    this.scroll = new Scroll(dialog.querySelector(".scroll"), {
      onFrame: (frame) => this.shown.strip.draw(this.canvas, this.shown.index, frame),
    });
    const on = (id, action) => dialog.querySelector(id).addEventListener("click", action);
    on("#picture-close", () => dialog.close());
    on("#picture-previous", () => this.#move(-1));
    on("#picture-next", () => this.#move(1));
    on("#picture-again", () => {
      dialog.close();
      this.onAgain(this.#request());
    });
    on("#picture-from", () => {
      dialog.close();
      onFrom(this.#image().url);
    });
    for (const [id, around] of [["#picture-variations", onVariations], ["#picture-between", onBetween]]) {
      on(id, () => {
        dialog.close();
        around(this.#request(), title(this.shown.generation.request, this.shown.index) ?? "this picture");
      });
    }
    on("#picture-download", () => this.#download());
    on("#picture-curl", () => this.#copy());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // beside the sheet: on its backdrop
    });
  }

  /** Show image `index` of a generation; `strip` may be null. */
  open(generation, index, strip) {
    if (!this.dialog.open) this.dialog.showModal();
    this.shown = { generation, index, strip };
    const image = this.#image();
    const { batch } = generation.request;
    const name = title(generation.request, index) ?? "Picture";
    this.#text("#picture-title", name);
    this.#text("#picture-place", batch > 1 ? `${index + 1} of ${batch}` : "");
    this.canvas.setAttribute("aria-label", `${name}, seed ${image.seed}`);
    for (const id of ["#picture-previous", "#picture-next"]) {
      this.dialog.querySelector(id).hidden = generation.images.length < 2;
    }
    this.dialog.querySelector("dl").replaceChildren(
      ...parameters(generation, image).map(([name, value]) => pair(name, value)),
    );
    this.curl.hidden = true;
    this.message.textContent = "";
    this.scroll.root.hidden = strip === null;
    if (strip) this.scroll.show(strip, index);
    else this.#guarded(async () => drawBlob(this.canvas, await blob(image.url)));
  }

  #image() {
    return this.shown.generation.images.find(({ index }) => index === this.shown.index);
  }

  #move(by) {
    const { generation, index, strip } = this.shown;
    const there = generation.images.map((image) => image.index).sort((a, b) => a - b);
    const next = (there.indexOf(index) + by + there.length) % there.length;
    this.open(generation, there[next], strip);
  }

  #request() {
    return single(this.shown.generation, this.#image());
  }

  #download() {
    this.#guarded(async () => {
      const { generation } = this.shown;
      const image = this.#image();
      save(await blob(image.url), fileName(generation, image));
      this.message.textContent = "Downloaded; the file keeps its parameters in its text chunks.";
    });
  }

  async #copy() {
    const text = curl(this.#request(), {
      origin: location.origin,
      withKey: key.value !== null,
      file: fileName(this.shown.generation, this.#image()),
    });
    this.curl.hidden = false;
    this.curl.value = text;
    this.curl.rows = text.split("\n").length;
    try {
      await navigator.clipboard.writeText(text);
      this.message.textContent = key.value === null ? "Copied." : "Copied; set EMAKI_API_KEY first.";
    } catch {
      // Without HTTPS, browsers keep the clipboard to themselves.
      this.curl.select();
      this.message.textContent = "Selected: copy it with Ctrl+C.";
    }
    this.message.scrollIntoView({ block: "nearest" });
  }

  async #guarded(action) {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.message.textContent = error.message;
    }
  }

  #text(selector, text) {
    this.dialog.querySelector(selector).textContent = text;
  }
}

function pair(name, value) {
  const [group, term, data] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
  term.textContent = name;
  data.textContent = value;
  group.append(term, data);
  return group;
}
