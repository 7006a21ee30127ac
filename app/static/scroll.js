// The picture scroll: frames from noise to picture on paper between two rods, to drag through.
// A slider for keyboards and screen readers; the browser's own scrolling for fingers and wheels.

import { drawBitmap } from "./pixels.js";

const CLICK_PIXELS = 4; // a mouse that moves less has clicked, not dragged
const PAGE_FRAMES = 4;
const PLAY_MS = 2400;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Scroll {
  /** `root` is a `.scroll` element, empty so far; `onFrame(k)` hears which frame lies in the middle. */
  constructor(root, { onFrame = () => {} } = {}) {
    this.root = root;
    this.onFrame = onFrame;
    root.append(document.getElementById("scroll-parts").content.cloneNode(true));
    this.paper = root.querySelector(".paper");
    this.caption = root.querySelector(".scroll-caption");
    this.play = root.querySelector(".scroll-play");
    this.paper.addEventListener("scroll", () => this.#passed(), { passive: true });
    this.paper.addEventListener("scrollend", () => this.#settle());
    this.paper.addEventListener("wheel", () => (this.target = null), { passive: true });
    this.paper.addEventListener("keydown", (event) => this.#key(event));
    this.#dragWithMouse();
    this.play.addEventListener("click", () => this.#play());
    this.close();
  }

  /** Roll it up: nothing to see yet. */
  close() {
    this.#begin("closed");
    this.open(0);
  }

  /** Let it unroll while its picture is drawn; frames come through `add`. */
  live() {
    this.#begin("live");
    this.open(0);
  }

  /** How far it is unrolled, 0 to 1. */
  open(fraction) {
    this.root.style.setProperty("--open", fraction);
  }

  /** Whether nothing lies on the paper. */
  get empty() {
    return this.paper.children.length === 0;
  }

  /** Lay a preview on the paper. */
  add(bitmap) {
    drawBitmap(this.#append(), bitmap);
  }

  /** Show a finished strip's row, unrolled up to its last frame, the picture. */
  show(strip, row) {
    this.#begin("ready");
    this.root.style.setProperty("--ratio", strip.width / strip.height);
    for (let k = 0; k < strip.frames; k++) strip.draw(this.#append(), row, k);
    this.strip = strip;
    this.last = strip.frames - 1;
    this.open(1);
    this.paper.setAttribute("aria-valuemax", this.last);
    this.#goTo(this.last, "instant");
  }

  #begin(state) {
    this.#stop();
    this.grip = null; // where a mouse took hold of the paper
    this.strip = null;
    this.target = null; // the frame that a key or a click has asked for, while it comes
    this.frame = -1;
    this.root.dataset.state = state;
    this.root.classList.remove("free");
    this.paper.replaceChildren();
    this.paper.inert = state !== "ready";
    this.play.hidden = state !== "ready";
    this.caption.textContent = "";
  }

  #append() {
    const canvas = document.createElement("canvas");
    this.paper.append(canvas);
    return canvas;
  }

  #offset(frame) {
    const cells = this.paper.children;
    return cells[frame].offsetLeft - cells[0].offsetLeft;
  }

  #nearest() {
    const pitch = this.last > 0 ? this.#offset(1) : 1;
    return Math.max(0, Math.min(this.last, Math.round(this.paper.scrollLeft / pitch)));
  }

  #passed() {
    if (!this.strip) return;
    const frame = this.#nearest();
    if (frame !== this.frame) this.onFrame(frame);
    this.frame = frame;
    if (frame === this.target) this.target = null;
    if (this.target === null) this.#tell(frame);
  }

  /** The paper lies still: snap to frames again, and say where it is. */
  #settle() {
    if (!this.strip) return;
    if (this.grip || this.playing) return;
    // An earlier way's end may be told when a key has sent it further: the next key counts from there.
    if (this.target !== null && this.target !== this.#nearest()) return this.#goTo(this.target);
    this.root.classList.remove("free");
    this.target = null;
    this.#passed();
  }

  #stop() {
    cancelAnimationFrame(this.playing);
    this.playing = null;
  }

  /** Say which frame it is; on the way to a target only the pictures follow, without words. */
  #tell(frame) {
    const step = `step ${this.strip.step(frame)} of ${this.strip.steps}`;
    const text = frame === this.last ? "the picture" : frame === 0 ? "noise" : step;
    this.paper.setAttribute("aria-valuenow", frame);
    this.paper.setAttribute("aria-valuetext", text);
    this.caption.textContent = text;
  }

  #goTo(wanted, behavior = calm.matches ? "instant" : "smooth") {
    this.#stop();
    const frame = Math.max(0, Math.min(this.last, wanted));
    this.target = frame;
    this.#tell(frame);
    this.paper.scrollTo({ left: this.#offset(frame), behavior });
    if (frame === this.#nearest()) this.#passed();
  }

  #key(event) {
    if (!this.strip || event.altKey || event.ctrlKey || event.metaKey) return;
    const from = this.target ?? this.frame;
    const wanted = {
      ArrowRight: from + 1,
      ArrowUp: from + 1,
      ArrowLeft: from - 1,
      ArrowDown: from - 1,
      PageUp: from + PAGE_FRAMES,
      PageDown: from - PAGE_FRAMES,
      Home: 0,
      End: this.last,
    }[event.key];
    if (wanted === undefined) return;
    event.preventDefault();
    this.#goTo(wanted);
  }

  #dragWithMouse() {
    this.paper.addEventListener("pointerdown", (event) => {
      this.#stop();
      this.target = null;
      if (event.pointerType !== "mouse" || event.button !== 0 || !this.strip) return;
      this.grip = { x: event.clientX, left: this.paper.scrollLeft, moved: 0, cell: event.target };
      this.paper.setPointerCapture(event.pointerId);
      this.root.classList.add("free");
    });
    this.paper.addEventListener("pointermove", (event) => {
      if (!this.grip) return;
      const moved = event.clientX - this.grip.x;
      this.grip.moved = Math.max(this.grip.moved, Math.abs(moved));
      this.paper.scrollLeft = this.grip.left - moved;
    });
    const release = () => {
      if (!this.grip) return;
      const { cell, moved } = this.grip;
      const clicked = moved <= CLICK_PIXELS ? [...this.paper.children].indexOf(cell) : -1;
      this.grip = null;
      this.#goTo(clicked < 0 ? this.#nearest() : clicked);
    };
    this.paper.addEventListener("pointerup", release);
    this.paper.addEventListener("pointercancel", release);
  }

  /** Unroll it from noise to picture. */
  #play() {
    this.#stop();
    const began = performance.now();
    const end = this.#offset(this.last);
    this.target = null;
    this.root.classList.add("free");
    const step = (now) => {
      const part = Math.max(0, Math.min(1, (now - began) / PLAY_MS));
      const frame = Math.round(part * this.last);
      this.paper.scrollLeft = calm.matches ? this.#offset(frame) : part * end;
      if (part < 1) this.playing = requestAnimationFrame(step);
      else this.#goTo(this.last, "instant");
    };
    this.playing = requestAnimationFrame(step);
  }
}
