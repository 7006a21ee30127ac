// One generation in the history: its pictures without gutters, what it is, how it went.

import { ApiError, blob } from "./api.js";
import { drawSheet } from "./pixels.js";
import { count, subject } from "./request.js";
import { addressOf } from "./router.js";
import { howFar } from "./standing.js";

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export class Entry {
  constructor(generation) {
    this.item = document.createElement("li");
    this.item.dataset.id = generation.id;
    this.link = document.createElement("a");
    this.link.href = addressOf(generation.id);
    this.canvas = document.createElement("canvas");
    this.name = document.createElement("b");
    this.words = document.createElement("span");
    const time = document.createElement("time");
    time.dateTime = generation.created_at;
    time.textContent = DAY.format(new Date(generation.created_at));
    this.link.append(this.canvas, this.name, this.words, time);
    this.box = document.createElement("input");
    this.box.type = "checkbox";
    this.box.hidden = true;
    this.item.append(this.link, this.box);
    this.describe(generation);
  }

  describe(generation) {
    this.generation = generation;
    const { request, status, progress } = generation;
    const words = {
      queued: "waiting",
      running: `${Math.floor(progress.fraction * 100)} %`,
      succeeded: count(request.batch),
      canceled: howFar(progress),
      failed: "failed",
    };
    this.name.textContent = subject(request);
    this.words.textContent = words[status];
    this.box.setAttribute("aria-label", `Choose ${subject(request)}, ${words[status]}`);
    this.link.dataset.status = status;
    if (this.seen) this.show();
  }

  /** It came into sight: fetch its pictures, once there are any. */
  async show() {
    this.seen = true;
    const { status, urls, images } = this.generation;
    if (status !== "succeeded" || this.drawn) return;
    this.drawn = true;
    try {
      drawSheet(this.canvas, await createImageBitmap(await blob(urls.grid)), images.length);
      this.link.dataset.drawn = "";
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.drawn = false;
    }
  }

  set current(value) {
    if (value) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
  }
}
