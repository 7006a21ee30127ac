// The picture that a request begins from: chosen, dropped, pasted or drawn before; how much of it
// is drawn anew, and where. Gives the API `init_image`, `strength` and `mask`.

import { blob } from "./api.js";
import { Brush } from "./brush.js";
import { drawBitmap, fromBase64 } from "./pixels.js";

const MOST_BYTES = 400_000; // a body has room for as many as base64, and for a mask
const MOST_SIDE = 1024;
const SENT_SIDE = 320; // of larger ones: their pixels fit into a body, however wild they are
const STRENGTH = 0.6;

export class Beginning {
  constructor(element) {
    this.element = element;
    const part = (name) => element.querySelector(`#begin-${name}`);
    this.shown = part("shown");
    this.canvas = part("picture");
    this.strength = element.querySelector("#strength");
    this.said = part("strength-said");
    this.undo = part("undo");
    const size = element.querySelector("#mask");
    this.brush = new Brush(part("mask"), { size: () => size.valueAsNumber, onChange: () => this.#follow() });
    this.strength.addEventListener("input", () => {
      this.chosen = true;
      this.#follow();
    });
    this.undo.addEventListener("click", () => this.brush.undo());
    part("remove").addEventListener("click", () => this.clear());
    this.clear();
  }

  clear() {
    this.source = null;
    this.shown.hidden = true;
    this.brush.lay(1, 1);
    this.#reset();
  }

  /** Begin from a file. Throws what the browser says where it is no picture. */
  async take(file) {
    const bitmap = await createImageBitmap(file);
    const { width, height } = bitmap;
    const small = file.size <= MOST_BYTES && Math.max(width, height) <= MOST_SIDE;
    if (small && ["image/png", "image/jpeg", "image/webp"].includes(file.type)) {
      this.#show(bitmap, await dataUri(file));
      return;
    }
    const scale = Math.min(1, SENT_SIDE / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    this.#show(await createImageBitmap(canvas), canvas.toDataURL("image/png"));
  }

  /** Begin from a picture on the server, or from a data: URI; `mask` is another's, or null. */
  async takeAddress(url, { strength = null, mask = null } = {}) {
    const [picture, painted] = await Promise.all([url, mask].map((address) => address && pictureAt(address)));
    this.#show(picture, url, painted);
    if (strength === null) return;
    this.chosen = true;
    this.strength.value = strength;
    this.#follow();
  }

  /** The request's fields; none without a picture. */
  read() {
    if (!this.source) return {};
    const mask = this.brush.empty ? undefined : this.brush.mask();
    return { init_image: this.source, strength: this.strength.valueAsNumber, mask };
  }

  /** What `takeAddress` takes to begin like this again; null without a picture. */
  get keepsake() {
    if (!this.source) return null;
    const { init_image: source, strength, mask = null } = this.read();
    return { source, how: { strength: this.chosen ? strength : null, mask } };
  }

  #show(bitmap, source, mask = null) {
    this.source = source;
    drawBitmap(this.canvas, bitmap);
    this.brush.lay(bitmap.width, bitmap.height, mask);
    this.shown.hidden = false;
    this.#reset();
  }

  #reset() {
    this.chosen = false;
    this.#follow();
  }

  /** As long as nobody has said: a part of the picture, or with a mask all of what is painted. */
  #follow() {
    if (!this.chosen) this.strength.value = this.brush.empty ? STRENGTH : 1;
    this.undo.disabled = this.brush.empty;
    this.said.textContent = `${Math.round(this.strength.valueAsNumber * 100)} % of the steps`;
  }
}

async function pictureAt(address) {
  const found = /^data:([^;,]+);base64,(.*)$/.exec(address); // which the page's policy lets nobody fetch
  return found ? fromBase64(found[2], found[1]) : createImageBitmap(await blob(address));
}

function dataUri(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
