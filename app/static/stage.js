// The generation on show: its previews and pictures, and the scroll above them, as they come.

import { ApiError, blob, json, open } from "./api.js";
import { Head } from "./head.js";
import { lazily } from "./lazily.js";
import { patiently } from "./patience.js";
import { Strip, drawBitmap, drawBlob, drawNoise, fromBase64 } from "./pixels.js";
import { Scroll } from "./scroll.js";
import { Tiles } from "./tiles.js";

const QUEUE_POLL_MS = 2000;
const GONE = new Map([
  [404, "There is no such drawing here: it was deleted, or another key drew it."],
  [410, "This drawing is too old: its pictures are not kept any more. The same seed draws them again."],
]);

const streams = lazily(() => import("./events.js")); // what is finished needs none

export class Stage {
  /**
   * `onUpdate(generation)` hears every change, `onGone(id)` that its results are no more,
   * `onPicture(generation, index, strip)` a click on a picture, `onAgain(request)` the button.
   * `cardOf(model)` gives a model's card, or undefined.
   */
  constructor(element, { onUpdate, onGone, onPicture, onAgain, cardOf }) {
    Object.assign(this, { onUpdate, onGone, cardOf });
    this.showing = new AbortController();
    this.generation = null;
    this.head = new Head(element, { onAgain, onDeleted: (id) => this.#leave(id, "Deleted.") });
    this.tiles = new Tiles(element.querySelector("#tiles"), {
      onOpen: (index) => onPicture(this.generation, index, this.strip),
    });
    this.scroll = new Scroll(element.querySelector(".scroll"), {
      onFrame: (frame) => this.tiles.each((canvas, row) => this.strip.draw(canvas, row, frame)),
    });
  }

  /** Show nothing, as at first. */
  clear() {
    this.#begin(null);
    this.head.clear();
    this.scroll.close();
    this.tiles.clear();
  }

  /** Show the generation of this id, or say why not. */
  async find(id) {
    this.clear();
    const { signal } = this.showing;
    this.head.await();
    try {
      await this.#patiently(signal, async () => {
        const generation = await json(`/v1/generations/${encodeURIComponent(id)}`, { signal });
        if (!signal.aborted) this.show(generation);
      });
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) this.head.clear(); // the key form asks
      else if (error.gone) this.#leave(id, GONE.get(error.status));
      else this.head.fail(error.message);
    }
  }

  /** Show a generation, and stay with it until it ends or another is shown. */
  async show(generation) {
    const signal = this.#begin(generation);
    this.head.show(generation);
    this.tiles.lay(generation.request);
    this.scroll.live();
    this.#describe();
    try {
      if (!generation.finished_at) await this.#follow(signal);
      else if (generation.status !== "succeeded") await this.#replay(signal);
      await this.#patiently(signal, () => this.#finish(signal));
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.gone) this.#leave(generation.id, GONE.get(error.status));
      else this.head.error(error.message);
    }
  }

  /** It was deleted: if it is the one on show, it is no more. */
  deleted(id) {
    if (this.generation?.id === id) this.#leave(id, "Deleted.");
  }

  #begin(generation) {
    this.showing.abort();
    this.showing = new AbortController();
    this.generation = generation;
    this.strip = null;
    this.decoded = null; // once all previews that have come are
    this.unattended = false;
    return this.showing.signal;
  }

  /** Its results are no more: only words stay, and what it asked for. */
  #leave(id, words) {
    this.showing.abort();
    this.scroll.close();
    this.tiles.clear();
    this.head.leave(words, this.generation !== null);
    this.onGone(id);
  }

  async #follow(signal) {
    const { width, height, channels } = this.cardOf(this.generation.model) ?? SMALL;
    this.tiles.each((canvas) => drawNoise(canvas, { width, height, channels }));
    const { follow } = await this.#patiently(signal, streams);
    const waiting = setInterval(() => this.#askForPlace(signal), QUEUE_POLL_MS);
    try {
      await follow(this.generation.urls.events, {
        onEvent: (name, data) => this.#hear(name, data, signal),
        onBreak: () => this.head.error("The connection broke. Drawing goes on; trying to reconnect …"),
        signal,
      });
    } finally {
      clearInterval(waiting);
    }
  }

  /** It ended before its pictures were drawn: show how far they came. */
  async #replay(signal) {
    const { width, height, channels } = this.cardOf(this.generation.model) ?? SMALL;
    this.tiles.each((canvas) => drawNoise(canvas, { width, height, channels }));
    const { follow } = await this.#patiently(signal, streams);
    await follow(this.generation.urls.events, {
      onEvent: (name, data) => name === "preview" && this.#take(data, signal),
      onBreak: () => {},
      signal,
    });
  }

  #hear(name, data, signal) {
    this.head.error("");
    const { generation } = this;
    if (name === "status" || name === "done") this.generation = data;
    else if (name === "progress") generation.progress = data;
    else if (name === "preview") this.#take(data, signal);
    else if (name === "image") {
      if (!generation.images.some(({ index }) => index === data.index)) generation.images.push(data);
    }
    if (name === "progress" || name === "preview") generation.status = "running";
    this.#describe();
  }

  /** Previews are decoded in whatever order the browser likes, and shown in the one they came in. */
  #take({ index, step, png_base64 }, signal) {
    const decoding = Promise.all([fromBase64(png_base64), this.decoded]);
    this.decoded = decoding.then(([bitmap]) => this.#lay(index, step, bitmap, signal));
  }

  #lay(index, step, bitmap, signal) {
    const tile = this.tiles.at(index);
    if (signal.aborted || this.strip || !tile || step <= tile.step) return;
    tile.step = step;
    drawBitmap(tile.canvas, bitmap);
    if (index === 0) this.scroll.add(bitmap);
  }

  /** Do what needs the server, however often that takes. */
  async #patiently(signal, action) {
    const onFail = (error) => this.head.error(error.message);
    const found = await patiently(action, { onFail, signal });
    if (!signal.aborted) this.head.error("");
    return found;
  }

  /** What there is to see: all frames of all pictures in one file, else picture by picture. */
  async #finish(signal) {
    const { generation } = this;
    const { urls, images } = generation;
    this.#describe();
    if (generation.status === "succeeded" && urls.strip) {
      const [{ width, height }, scale] = [images[0], generation.request.scale ?? 1];
      const drawn = { width: width / scale, height: height / scale, rows: images.length };
      const facts = { ...drawn, steps: generation.progress.steps };
      const strip = await Strip.of(await blob(urls.strip, { signal }), facts);
      if (signal.aborted) return;
      this.strip = strip;
      this.scroll.show(strip, 0);
    } else {
      if (this.scroll.empty) this.scroll.close();
      for (const image of images) {
        const data = await blob(image.url, { signal });
        if (signal.aborted) return;
        await drawBlob(this.tiles.at(image.index).canvas, data);
      }
    }
    await this.decoded; // how far the others came is known then
    if (!signal.aborted) this.tiles.settle(images);
  }

  #describe() {
    const { generation } = this;
    this.head.describe(generation, { unattended: this.unattended });
    const { finished_at, progress, status } = generation;
    const least = finished_at ? 0.2 : 0; // what has ended early shows its last frame, at least
    if (status !== "succeeded") this.scroll.open(Math.max(progress.fraction, least));
    this.onUpdate(generation);
  }

  /** Streams say nothing of the queue while a request waits in it. */
  async #askForPlace(signal) {
    if (this.generation.status !== "queued") return;
    try {
      const current = await json(this.generation.urls.self, { signal });
      if (signal.aborted || this.generation.status !== "queued") return;
      if (current.status === "queued") this.generation = current;
      this.unattended = false;
      await open("/readyz", { signal });
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.unattended = error.status === 503; // of all else the stream tells
    }
    if (!signal.aborted) this.#describe();
  }
}

const SMALL = { width: 28, height: 28, channels: 1 }; // of a model whose card is not known
