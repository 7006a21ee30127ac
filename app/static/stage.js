// The generation on show: what it is, how far it is, its pictures, and the scroll above them.

import { ApiError, blob, json, open, post } from "./api.js";
import { save } from "./download.js";
import { follow, sleep } from "./events.js";
import { Strip, drawBitmap, drawBlob, drawNoise, fromBase64 } from "./pixels.js";
import { count, duration, subject, timeLeft } from "./request.js";
import { Scroll } from "./scroll.js";
import { Tiles } from "./tiles.js";

const QUEUE_POLL_MS = 2000;
const RETRY_S = 3;

export class Stage {
  /**
   * `onUpdate(generation)` hears every change, `onGone(id)` that its results are no more,
   * `onPicture(generation, index, strip)` a click on a picture, `onAgain(request)` the button.
   * `cardOf(model)` gives a model's card, or undefined.
   */
  constructor(element, { onUpdate, onGone, onPicture, onAgain, cardOf }) {
    Object.assign(this, { element, onUpdate, onGone, cardOf });
    this.parts = Object.fromEntries(
      ["title", "status", "error", "bar", "cancel", "again", "all", "hint"].map((name) => [
        name,
        element.querySelector(`#stage-${name}`),
      ]),
    );
    this.live = document.querySelector("#announcer");
    this.showing = new AbortController();
    this.tiles = new Tiles(element.querySelector("#tiles"), {
      onOpen: (index) => onPicture(this.generation, index, this.strip),
    });
    this.scroll = new Scroll(element.querySelector(".scroll"), {
      onFrame: (frame) => this.tiles.each((canvas, row) => this.strip.draw(canvas, row, frame)),
    });
    this.parts.cancel.addEventListener("click", () => this.#cancel());
    this.parts.again.addEventListener("click", () => onAgain(this.generation.request));
    this.parts.all.addEventListener("click", () => this.#saveAll());
  }

  /** Show a generation, and stay with it until it ends or another is shown. */
  async show(generation) {
    this.showing.abort();
    this.showing = new AbortController();
    const { signal } = this.showing;
    this.strip = null;
    this.unattended = false;
    this.announced = generation.finished_at ? generation.status : null;
    this.#error("");
    this.parts.hint.hidden = true;
    this.parts.title.textContent = `${subject(generation.request)}, ${count(generation.request.batch)}`;
    this.tiles.lay(generation.request);
    this.generation = generation;
    this.scroll.live();
    this.#describe();
    try {
      if (!generation.finished_at) await this.#follow(signal);
      await this.#fetch(signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.#error(error.message);
      if (error.gone) this.#leave();
    }
  }

  /** Its results are no more: only the error's words stay. */
  #leave() {
    const { bar, cancel, again, all, status } = this.parts;
    for (const part of [bar, cancel, all]) part.hidden = true;
    again.hidden = false;
    status.textContent = "";
    document.title = "Emaki";
    this.scroll.close();
    this.tiles.clear();
    this.onGone(this.generation.id);
  }

  async #follow(signal) {
    const { width, height, channels } = this.cardOf(this.generation.model) ?? SMALL;
    this.tiles.each((canvas) => drawNoise(canvas, { width, height, channels }));
    const waiting = setInterval(() => this.#askForPlace(signal), QUEUE_POLL_MS);
    try {
      await follow(this.generation.urls.events, {
        onEvent: (name, data) => this.#hear(name, data, signal),
        onBreak: () => this.#error("The connection broke. Drawing goes on; trying to reconnect …"),
        signal,
      });
    } finally {
      clearInterval(waiting);
    }
  }

  #hear(name, data, signal) {
    this.#error("");
    const { generation } = this;
    if (name === "status" || name === "done") this.generation = data;
    else if (name === "progress") generation.progress = data;
    else if (name === "preview") this.#preview(data, signal);
    else if (name === "image") {
      if (!generation.images.some(({ index }) => index === data.index)) generation.images.push(data);
    }
    if (name === "progress" || name === "preview") generation.status = "running";
    this.#describe();
  }

  async #preview({ index, step, png_base64 }, signal) {
    const bitmap = await fromBase64(png_base64);
    const tile = this.tiles.at(index);
    if (signal.aborted || this.strip || !tile || step < tile.step) return;
    tile.step = step;
    drawBitmap(tile.canvas, bitmap);
    if (index === 0) this.scroll.add(bitmap);
  }

  /** Fetch its pictures, however often that takes. */
  async #fetch(signal) {
    while (!signal.aborted) {
      try {
        await this.#finish(signal);
        this.#error("");
        return;
      } catch (error) {
        if (!(error instanceof ApiError && error.temporary)) throw error;
        this.#error(error.message);
        await sleep((error.retryAfter ?? RETRY_S) * 1000, signal);
      }
    }
  }

  /** What there is to see: all frames of all pictures in one file, else picture by picture. */
  async #finish(signal) {
    const { generation } = this;
    const { urls, images, request } = generation;
    this.#describe();
    if (generation.status === "succeeded" && urls.strip) {
      const { width, height } = images[0];
      const facts = { width, height, steps: generation.progress.steps };
      const strip = await Strip.of(await blob(urls.strip, { signal }), facts);
      if (signal.aborted) return;
      this.strip = strip;
      this.scroll.show(strip, 0);
    } else {
      if (generation.status !== "succeeded") this.scroll.close();
      for (const image of images) {
        const data = await blob(image.url, { signal });
        if (signal.aborted) return;
        await drawBlob(this.tiles.at(image.index).canvas, data);
      }
    }
    this.tiles.settle(images);
  }

  #describe() {
    const { generation, parts } = this;
    const { status, progress, timings, model } = generation;
    const place = progress.queue_position;
    const words = {
      queued: [
        place ? `Waiting, number ${place} in the queue` : "Waiting for its turn",
        this.unattended && "no worker is there to draw right now",
      ]
        .filter(Boolean)
        .join("; "),
      running: [`Step ${progress.step} of ${progress.steps}`, timeLeft(progress.eta_seconds)]
        .filter(Boolean)
        .join(", "),
      succeeded: [`Drawn by ${model} in ${duration(timings.run_ms ?? 0)}`, ...generation.warnings].join("; "),
      canceled: "Canceled",
      failed: `Failed: ${generation.error?.detail ?? "the server does not say why"}`,
    };
    const over = Boolean(generation.finished_at);
    this.element.dataset.status = status;
    parts.status.textContent = words[status];
    parts.bar.hidden = over;
    parts.bar.value = progress.fraction;
    if (!over) this.scroll.open(progress.fraction);
    if (over && document.activeElement === parts.cancel) parts.title.focus();
    parts.cancel.hidden = over;
    parts.again.hidden = !over;
    parts.all.hidden = status !== "succeeded" || generation.request.batch < 2;
    document.title = over ? "Emaki" : `${Math.floor(progress.fraction * 100)} % · Emaki`;
    if (this.announced !== status) {
      this.announced = status;
      this.live.textContent = status === "running" ? "Drawing has begun" : words[status];
    }
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

  async #cancel() {
    const { generation } = this;
    this.parts.cancel.disabled = true;
    try {
      await post(generation.urls.cancel); // its end comes through the stream
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status !== 409) this.#error(error.message); // 409: it has ended meanwhile
    } finally {
      this.parts.cancel.disabled = false;
    }
  }

  async #saveAll() {
    try {
      const { id, urls, model } = this.generation;
      save(await blob(urls.grid), `emaki-${model.split("@")[0]}-${id.slice(0, 8)}.png`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#error(error.message);
    }
  }

  #error(text) {
    if (this.parts.error.textContent === text) return; // said already
    this.parts.error.textContent = text;
    this.parts.error.hidden = !text;
  }
}

const SMALL = { width: 28, height: 28, channels: 1 }; // of a model whose card is not known
