// The dialog about one picture: large, its own scroll, its parameters, and what to do with it.

import { ApiError, blob, key } from "./api.js";
import { save } from "./download.js";
import { curl, fileName, parameters, single } from "./drawing.js";
import { drawBlob } from "./pixels.js";
import { title } from "./request.js";
import { Scroll } from "./scroll.js";
import { pair } from "./tables.js";

const SCALES = [1, 2, 4, 8, 16];
const MOST_PIXELS = 2 ** 24; // the server makes none larger

export class PictureDialog {
  /**
   * `onAgain(request)` is called with what draws the picture again, `onFrom(url)` to begin from it,
   * `onVariations(request, name)` and `onBetween(request, name)` for pictures around it,
   * `onCompare(one, other)` with two of `{generation, index}`.
   */
  constructor(dialog, { onAgain, onFrom, onVariations, onBetween, onCompare }) {
    Object.assign(this, { dialog, onAgain, onCompare });
    this.aside = null; // the picture that another is to be compared with
    this.canvas = dialog.querySelector(".picture-large");
    this.message = dialog.querySelector("#picture-message");
    this.curl = dialog.querySelector("#curl");
    this.scale = dialog.querySelector("#picture-scale");
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
    on("#picture-compare", () => this.#compare());
    on("#picture-download", () => this.#download());
    dialog.addEventListener("keydown", (event) => this.#key(event));
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
    this.#offerSizes(image);
    this.dialog.querySelector("#picture-compare").textContent = this.#isAside()
      ? "Compare with another …"
      : "Compare with the one put aside";
    this.curl.hidden = true;
    this.message.textContent = "";
    this.scroll.root.hidden = strip === null;
    if (strip) this.scroll.show(strip, index);
    else this.#guarded(async () => drawBlob(this.canvas, await blob(image.url)));
  }

  /** As many times as large as it was drawn, up to what the server makes. */
  #offerSizes({ width, height }) {
    const drawn = this.shown.generation.request.scale;
    const options = SCALES.filter((scale) => (width * height * scale ** 2) / drawn ** 2 <= MOST_PIXELS).map(
      (scale) => new Option(`${(width / drawn) * scale} × ${(height / drawn) * scale}`, scale),
    );
    const wanted = this.scale.value || String(drawn);
    this.scale.replaceChildren(...options);
    this.scale.value = wanted;
    if (this.scale.selectedIndex < 0) this.scale.value = String(drawn);
  }

  #key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const modified = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
    // The scroll, the sizes and the command use these keys themselves.
    if (!by || modified || event.target.closest("[role=slider], select, textarea")) return;
    event.preventDefault();
    this.#move(by);
  }

  /** Whether nothing else is put aside. */
  #isAside() {
    const { generation, index } = this.shown;
    return !this.aside || (this.aside.generation.id === generation.id && this.aside.index === index);
  }

  #compare() {
    const { generation, index } = this.shown;
    if (this.#isAside()) {
      this.aside = { generation, index };
      this.message.textContent = "Put aside. Go to another picture and press Compare there.";
      return;
    }
    const other = this.aside;
    this.aside = null;
    this.dialog.close();
    this.onCompare(other, { generation, index });
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
      const scale = Number(this.scale.value);
      const enlarged = scale !== generation.request.scale;
      const size = this.scale.selectedOptions[0].text.replaceAll(" ", "");
      const name = fileName(generation, image);
      save(
        await blob(enlarged ? `${image.url}?scale=${scale}` : image.url),
        enlarged ? name.replace(/\.png$/, `-${size}.png`) : name,
      );
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
