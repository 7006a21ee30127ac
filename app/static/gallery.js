// This browser's requests, newest first: their ids live in localStorage, all else on the server.

import { ApiError, blob, json } from "./api.js";
import { count, subject } from "./request.js";

const IDS = "emaki.generations";
const MOST = 48;
const POLL_MS = 3000;

export class Gallery {
  /** `onOpen(generation)` is called when one is chosen. */
  constructor(section, { onOpen }) {
    this.section = section;
    this.list = section.querySelector("ol");
    this.onOpen = onOpen;
    this.entries = new Map();
    this.current = null;
    // Only what comes into sight is asked for.
    this.sight = new IntersectionObserver((seen) => {
      for (const { isIntersecting, target } of seen) {
        if (isIntersecting) this.#load(target.dataset.id);
      }
    });
    setInterval(() => this.#poll(), POLL_MS);
  }

  get newest() {
    return ids()[0];
  }

  /** Show what this browser remembers. */
  restore() {
    for (const id of ids().toReversed()) if (!this.entries.has(id)) this.#insert(id);
    this.#refresh();
  }

  /** A generation has begun, moved on, or was opened. */
  update(generation) {
    if (!this.entries.has(generation.id)) {
      const kept = [generation.id, ...ids().filter((id) => id !== generation.id)];
      for (const id of kept.splice(MOST)) this.#remove(id);
      save(kept);
      this.#insert(generation.id);
    }
    this.#describe(this.entries.get(generation.id), generation);
    this.#refresh();
  }

  /** Mark the one that is on show. */
  mark(id) {
    this.current = id;
    for (const [other, { button }] of this.entries) {
      if (other === id) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  forget(id) {
    save(ids().filter((other) => other !== id));
    this.#remove(id);
    this.#refresh();
  }

  #insert(id) {
    const item = document.createElement("li");
    item.dataset.id = id;
    const button = document.createElement("button");
    button.type = "button";
    const picture = document.createElement("img");
    picture.alt = "";
    const caption = document.createElement("span");
    caption.textContent = "…";
    button.append(picture, caption);
    button.addEventListener("click", () => this.#open(id));
    item.append(button);
    this.list.prepend(item);
    this.entries.set(id, { item, button, picture, caption, generation: null, loading: null });
    this.sight.observe(item);
  }

  #remove(id) {
    const entry = this.entries.get(id);
    if (!entry) return;
    URL.revokeObjectURL(entry.picture.src);
    this.sight.unobserve(entry.item);
    entry.item.remove();
    this.entries.delete(id);
  }

  #refresh() {
    this.section.hidden = this.entries.size === 0;
  }

  async #open(id) {
    await this.#load(id);
    const generation = this.entries.get(id)?.generation;
    if (generation) this.onOpen(generation);
  }

  #load(id) {
    const entry = this.entries.get(id);
    if (!entry || entry.generation?.finished_at) return null;
    entry.loading ??= this.#fetch(id, entry).finally(() => (entry.loading = null));
    return entry.loading;
  }

  async #fetch(id, entry) {
    try {
      this.#describe(entry, await json(`/v1/generations/${id}`));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.gone) this.forget(id);
      else entry.caption.textContent = "not reached";
    }
  }

  #describe(entry, generation) {
    entry.generation = generation;
    const { request, status, progress } = generation;
    const words = {
      queued: "waiting",
      running: `${Math.floor(progress.fraction * 100)} %`,
      succeeded: count(request.batch),
      canceled: "canceled",
      failed: "failed",
    };
    const name = document.createElement("b");
    name.textContent = subject(request);
    entry.caption.replaceChildren(name, ` ${words[status]}`);
    entry.button.dataset.status = status;
    if (status === "succeeded" && !entry.drawn) this.#draw(entry, generation);
  }

  async #draw(entry, generation) {
    entry.drawn = true;
    try {
      entry.picture.src = URL.createObjectURL(await blob(generation.urls.grid));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      entry.drawn = false;
    }
  }

  /** The one on show is streamed; others that are under way are looked at now and then. */
  #poll() {
    if (document.hidden) return;
    for (const [id, { generation }] of this.entries) {
      if (generation && !generation.finished_at && id !== this.current) this.#load(id);
    }
  }
}

function ids() {
  try {
    const kept = JSON.parse(localStorage.getItem(IDS));
    return Array.isArray(kept) ? kept.filter((id) => /^[0-9a-f]{32}$/.test(id)) : [];
  } catch {
    return [];
  }
}

function save(kept) {
  localStorage.setItem(IDS, JSON.stringify(kept));
}
