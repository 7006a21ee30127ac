// What this key has under way: what runs, what waits and for how long; each of it can be canceled.

import { ApiError, json, open, post } from "./api.js";
import { count, subject } from "./request.js";
import { addressOf } from "./router.js";
import { standing } from "./standing.js";

const LOOK_MS = 2000;
const MOST = 100;
const CLOCKS_MS = 60_000; // by as much the clocks of several servers may differ

export class Queue {
  constructor(section) {
    this.section = section;
    this.title = section.querySelector("h2");
    this.words = section.querySelector("#queue-words");
    this.error = section.querySelector(".error");
    this.list = section.querySelector("ol");
    this.all = section.querySelector("#queue-cancel");
    this.all.addEventListener("click", () => this.#cancelWaiting());
    this.rows = new Map();
    this.timer = null;
    addEventListener("visibilitychange", () => this.timer !== null && !document.hidden && this.#look());
  }

  /** It comes on show: look now and then, as long as it is. */
  enter() {
    this.leave();
    this.since = null;
    this.pause = 0;
    this.timer = setInterval(() => document.hidden || this.#look(), LOOK_MS);
    this.#look();
  }

  leave() {
    clearInterval(this.timer);
    this.timer = null;
  }

  async #look() {
    if (this.looking || Date.now() < this.pause) return;
    this.looking = true;
    try {
      const [running, queued, attended] = await Promise.all([
        this.#list("running"),
        this.#list("queued"),
        isAttended(),
      ]);
      this.#show(running.data, queued.data, { attended, more: running.next_cursor ?? queued.next_cursor });
      this.#say("");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#say(error.status === 401 ? "" : error.message);
      this.pause = Date.now() + (error.retryAfter ?? 0) * 1000; // what is left is for drawing
    } finally {
      this.looking = false;
    }
  }

  /** Nothing that has ended begins again: so only what is as young as the oldest is looked at. */
  #list(status) {
    const query = new URLSearchParams({ status, limit: MOST });
    if (this.since) query.set("created_after", this.since);
    return json(`/v1/generations?${query}`);
  }

  #show(running, queued, { attended, more }) {
    const waiting = stillWaiting(queued, running);
    const underWay = [...running.toReversed(), ...waiting]; // the oldest first, then the next first
    if (!more) {
      const oldest = Math.min(...underWay.map(({ created_at }) => Date.parse(created_at)));
      if (underWay.length) this.since = new Date(oldest - CLOCKS_MS).toISOString();
    }
    const words = [`${running.length} running`, `${waiting.length} waiting`];
    if (more) words.push("and more");
    const told = underWay.length ? words.join(", ") : "Nothing is under way.";
    this.#tell(attended ? told : `${told} No worker is there to draw right now: what is asked for waits.`);
    this.all.hidden = waiting.length < 2;
    this.waiting = waiting;
    const there = new Set(underWay.map(({ id }) => id));
    for (const [id, { item }] of this.rows) {
      if (there.has(id)) continue;
      if (item.contains(document.activeElement)) this.title.focus();
      item.remove();
      this.rows.delete(id);
    }
    underWay.forEach((generation, index) => {
      const row = this.rows.get(generation.id) ?? this.#row(generation);
      const { status, progress } = generation;
      row.words.textContent = standing(generation, { unattended: !attended });
      row.bar.value = progress.fraction;
      row.item.dataset.status = status;
      if (this.list.children[index] !== row.item) this.list.insertBefore(row.item, this.list.children[index]);
    });
  }

  #row({ id, request, urls }) {
    const [item, link, facts, bar, words, button] = ["li", "a", "span", "progress", "p", "button"].map((tag) =>
      document.createElement(tag),
    );
    const name = `${subject(request)}, ${count(request.batch)}`;
    link.href = addressOf(id);
    link.textContent = name;
    facts.textContent = [request.model, request.priority !== "normal" && `${request.priority} priority`]
      .filter(Boolean)
      .join(" · ");
    bar.setAttribute("aria-label", `${name}: drawn so far`);
    button.type = "button";
    button.textContent = "Cancel";
    button.setAttribute("aria-label", `Cancel ${name}`);
    button.addEventListener("click", () => this.#cancel([{ urls }], button));
    item.append(link, facts, bar, words, button);
    const row = { item, bar, words };
    this.rows.set(id, row);
    return row;
  }

  #cancelWaiting() {
    this.#cancel(this.waiting, this.all);
  }

  /** The button stays enabled, for a disabled one would lose the focus. */
  async #cancel(generations, button) {
    if (button.ariaDisabled === "true") return;
    button.ariaDisabled = "true";
    try {
      for (const { urls } of generations) await cancel(urls.cancel);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#say(error.message);
    } finally {
      button.ariaDisabled = "false";
      this.#look();
    }
  }

  #tell(words) {
    if (this.words.textContent !== words) this.words.textContent = words; // said once, not each time
  }

  #say(text) {
    if (this.error.textContent === text) return;
    this.error.textContent = text;
    this.error.hidden = !text;
  }
}

/** Those that have not begun between the two answers, by their place in the queue. */
function stillWaiting(queued, running) {
  const begun = new Set(running.map(({ id }) => id));
  const place = ({ progress }) => progress.queue_position ?? 0;
  return queued.filter(({ id }) => !begun.has(id)).sort((a, b) => place(a) - place(b));
}

/** Cancel one; that it has ended, or is gone, is as good. */
async function cancel(url) {
  try {
    await post(url);
  } catch (error) {
    if (!(error instanceof ApiError && (error.status === 409 || error.gone))) throw error;
  }
}

async function isAttended() {
  try {
    await open("/readyz");
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 503) return false;
    throw error;
  }
}
