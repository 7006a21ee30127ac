// What this key has drawn, newest first, from the server: narrowed, and page by page as one scrolls.

import { ApiError, json } from "./api.js";
import { Entry } from "./entry.js";
import { Filter } from "./filter.js";
import { lazily } from "./lazily.js";

const PAGE = 24;
const POLL_MS = 3000;
const PAGES_AT_ONCE = 3; // the server looks at so many generations for each: it may find none

export class History {
  /** `onGone(id)` is called when one was deleted, `onCompare(one, other)` with two generations. */
  constructor(section, { onGone, onCompare }) {
    this.section = section;
    this.list = section.querySelector("ol");
    this.note = section.querySelector("#gallery-note");
    this.more = section.querySelector("#gallery-more");
    this.entries = new Map();
    this.current = null;
    this.reading = new AbortController();
    this.cursor = null;
    this.filter = new Filter(section.querySelector("#gallery-filter"), { onChange: () => this.restart() });
    const { entries } = this;
    const deleted = (id) => {
      this.forget(id);
      onGone(id);
    };
    this.selection = null; // once somebody chooses several
    const selecting = lazily(
      () => import("./selection.js"),
      ({ Selection }) => (this.selection = new Selection(section, { entries, onCompare, onGone: deleted })),
    );
    section.querySelector("#gallery-choose").addEventListener("click", () => this.#choose(selecting));
    // Only the pictures that come into sight are fetched, and more once the end does.
    this.sight = new IntersectionObserver((seen) => {
      for (const { isIntersecting, target } of seen) {
        if (!isIntersecting) continue;
        if (target === this.more) this.#next();
        else this.entries.get(target.dataset.id)?.show();
      }
    });
    this.more.addEventListener("click", () => this.#next());
    setInterval(() => this.#poll(), POLL_MS);
  }

  /** Read it from the newest on, as the filter says. */
  async restart() {
    this.reading.abort();
    this.reading = new AbortController();
    this.busy = this.loaded = false;
    for (const id of [...this.entries.keys()]) this.#remove(id);
    this.cursor = null;
    const faults = this.filter.faults();
    this.filter.say(faults);
    if (faults.length) this.#end("");
    else await this.#next();
  }

  /** A generation has begun, moved on, or was opened. */
  update(generation) {
    const entry = this.entries.get(generation.id);
    if (entry) entry.describe(generation);
    else if (this.#isNewest(generation)) this.#insert(generation, { first: true });
    this.#refresh();
  }

  /** Mark the one that is on show. */
  mark(id) {
    this.current = id;
    for (const [other, entry] of this.entries) entry.current = other === id;
  }

  forget(id) {
    this.#remove(id);
    this.#refresh();
  }

  async #choose(selecting) {
    try {
      (await selecting()).switch();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.note.textContent = error.message;
    }
  }

  /** Whether it belongs above all others. */
  #isNewest({ created_at }) {
    if (!this.loaded || this.filter.active) return false;
    const [first] = this.entries.values();
    return !first || Date.parse(created_at) >= Date.parse(first.generation.created_at);
  }

  #insert(generation, { first = false } = {}) {
    const entry = new Entry(generation);
    entry.current = generation.id === this.current;
    if (first) {
      this.list.prepend(entry.item);
      const others = [...this.entries];
      this.entries.clear();
      this.entries.set(generation.id, entry);
      for (const [id, other] of others) this.entries.set(id, other);
    } else {
      this.list.append(entry.item);
      this.entries.set(generation.id, entry);
    }
    this.selection?.take(entry);
    this.sight.observe(entry.item);
  }

  #remove(id) {
    const entry = this.entries.get(id);
    if (!entry) return;
    this.sight.unobserve(entry.item);
    entry.item.remove();
    this.entries.delete(id);
    this.selection?.tell();
  }

  async #next() {
    if (this.busy) return;
    this.busy = true;
    const { signal } = this.reading;
    this.sight.unobserve(this.more);
    this.note.textContent = "Looking …";
    try {
      for (let pages = 0, found = 0; pages < PAGES_AT_ONCE && !found; pages++) {
        found = await this.#page(signal);
        if (this.cursor === null) break;
      }
      this.#end("");
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.fields.length) this.filter.say(error.fields);
      this.#end(error.fields.length || error.status === 401 ? "" : error.message, { failed: true });
    } finally {
      if (!signal.aborted) this.busy = false;
    }
  }

  /** Read one page; how many it held. */
  async #page(signal) {
    const query = this.filter.query();
    query.set("limit", PAGE);
    if (this.cursor !== null) query.set("cursor", this.cursor);
    const { data, next_cursor } = await json(`/v1/generations?${query}`, { signal });
    signal.throwIfAborted();
    for (const generation of data) if (!this.entries.has(generation.id)) this.#insert(generation);
    this.cursor = next_cursor;
    this.loaded = true;
    return data.length;
  }

  /** Reading has come to an end, for now. */
  #end(words, { failed = false } = {}) {
    this.note.textContent = words;
    this.more.hidden = this.cursor === null && !(failed && words);
    this.more.textContent = failed ? "Try again" : "Show more";
    if (!this.more.hidden && !failed) this.sight.observe(this.more); // still in sight: on at once
    this.#refresh();
  }

  #refresh() {
    const none = this.entries.size === 0;
    const { active } = this.filter;
    this.section.hidden = none && !active && this.more.hidden;
    if (none && active && this.more.hidden && !this.filter.faults().length) {
      this.note.textContent = "Nothing that was drawn is like that.";
    } else if (!none && this.note.textContent.startsWith("Nothing")) this.note.textContent = "";
  }

  /** The one on show is streamed; others that are under way are looked at now and then. */
  async #poll() {
    if (document.hidden || !this.section.checkVisibility()) return;
    for (const [id, entry] of this.entries) {
      if (!entry.seen || entry.generation.finished_at || id === this.current) continue;
      try {
        entry.describe(await json(entry.generation.urls.self));
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.gone) this.forget(id);
        else return; // the next time
      }
    }
  }
}
