// What this key has under way: what runs, what waits and for how long; each of it can be canceled.

import { ApiError, open, parse, post } from "./api.js";
import { count, subject } from "./request.js";
import { addressOf } from "./router.js";
import { standing } from "./standing.js";

const LOOK_MS = 2000;
const REST = 9; // times as long as a look took: a long queue is looked at less often
const PAGE = 100;
const MOST_PAGES = 20; // by one look, of what runs and of what waits
const SHOWN = 100; // of what waits
const CLOCKS_MS = 60_000; // by as much the clocks of several servers may differ

export class Queue {
  constructor(section) {
    this.section = section;
    this.title = section.querySelector("h2");
    this.words = section.querySelector("#queue-words");
    this.error = section.querySelector(".error");
    this.list = section.querySelector("ol");
    this.all = section.querySelector("#queue-cancel");
    this.all.addEventListener("click", () => this.#while(this.all, () => this.#cancelWaiting()));
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
    const begun = Date.now();
    try {
      const attended = await isAttended();
      const queued = await this.#list("queued"); // first: what begins in between is in both, not in neither
      const running = await this.#list("running");
      this.#show(running, queued, { attended });
      this.#say("");
      this.pause = Date.now() + REST * (Date.now() - begun);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#say(error.status === 401 ? "" : error.message);
      this.pause = Date.now() + (error.retryAfter ?? 0) * 1000; // what is left is for drawing
    } finally {
      this.looking = false;
    }
  }

  /** Those with a status, newest first; `whole`: all of them, as of `moment`. */
  async #list(status) {
    const found = [];
    let [pages, moment] = [0, null];
    for await (const page of this.#pages(status)) {
      found.push(...page.data);
      moment ??= page.moment;
      if (page.last) return { found, moment, whole: true };
      if (++pages === MOST_PAGES) return { found, moment, whole: false };
    }
  }

  /** The server looks at so many for each page: it may find none, and there may be more. */
  async *#pages(status) {
    const query = new URLSearchParams({ status, limit: PAGE });
    if (this.since) query.set("created_after", this.since);
    for (let last = false; !last; ) {
      const answer = await open(`/v1/generations?${query}`);
      const { data, next_cursor } = parse(await answer.text());
      last = next_cursor === null;
      yield { data, last, moment: Date.parse(answer.headers.get("date")) };
      query.set("cursor", next_cursor);
    }
  }

  #show(running, queued, { attended }) {
    const waiting = stillWaiting(queued.found, running.found);
    const underWay = [...running.found.toReversed(), ...waiting.slice(0, SHOWN)]; // the oldest, then the next
    const whole = running.whole && queued.whole;
    if (whole) this.#begin([...running.found, ...waiting], queued.moment);
    this.#tell(summary(running.found.length, waiting.length, { whole, attended }));
    this.all.hidden = waiting.length < 2;
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

  /** Nothing that has ended begins again: from now on look only at what is as young as the oldest. */
  #begin(underWay, moment) {
    const oldest = Math.min(moment, ...underWay.map(({ created_at }) => Date.parse(created_at)));
    if (oldest) this.since = new Date(oldest - CLOCKS_MS).toISOString();
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
    button.addEventListener("click", () => this.#while(button, () => cancel(urls.cancel)));
    item.append(link, facts, bar, words, button);
    const row = { item, bar, words };
    this.rows.set(id, row);
    return row;
  }

  async #cancelWaiting() {
    for await (const { data } of this.#pages("queued")) {
      for (const { urls } of data) await cancel(urls.cancel);
    }
  }

  /** Do what a button says. It stays enabled, for a disabled one would lose the focus. */
  async #while(button, action) {
    if (button.ariaDisabled === "true") return;
    button.ariaDisabled = "true";
    try {
      await action();
      this.pause = 0;
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

/** How much there is; `whole`: all of it is known. */
function summary(running, waiting, { whole, attended }) {
  const parts = [`${running} running`, `${waiting} waiting`];
  if (waiting > SHOWN) parts.push(`${whole ? "the next " : ""}${SHOWN} of them shown`);
  const told = whole && running + waiting === 0 ? "Nothing is under way" : parts.join(", ");
  return [
    `${told}.`,
    !whole && "What was asked for before the last few thousand was not looked at.",
    !attended && "No worker is there to draw right now: what is asked for waits.",
  ]
    .filter(Boolean)
    .join(" ");
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
