// What stands above the pictures of the generation on show: its name, how it stands, what to do with it.

import { ApiError, blob, erase, post } from "./api.js";
import { lazily } from "./lazily.js";
import { count, inBrief, subject } from "./request.js";
import { addressOf } from "./router.js";
import { standing } from "./standing.js";

const PARTS = ["title", "status", "brief", "error", "bar", "cancel", "again", "all", "link", "delete", "hint"];
const DEEDS = ["cancel", "again", "all", "link", "delete"];

const saving = lazily(() => import("./download.js"));
const asking = lazily(() => import("./confirm.js"));

export class Head {
  /** `onAgain(request)` is called by that button, `onDeleted(id)` once it is deleted. */
  constructor(element, { onAgain, onDeleted }) {
    Object.assign(this, { element, onDeleted });
    this.parts = Object.fromEntries(PARTS.map((name) => [name, element.querySelector(`#stage-${name}`)]));
    this.live = document.querySelector("#announcer");
    const { cancel, again, all, link, delete: remove } = this.parts;
    cancel.addEventListener("click", () => this.#during(cancel, () => this.#cancel()));
    again.addEventListener("click", () => onAgain(this.generation.request));
    all.addEventListener("click", () => this.#during(all, () => this.#saveAll()));
    link.addEventListener("click", () => this.#copyLink());
    remove.addEventListener("click", () => this.#during(remove, () => this.#delete()));
  }

  clear() {
    this.#say("Nothing on show", "");
    this.#offer([]);
    this.parts.hint.hidden = false;
  }

  /** What is to be shown is being asked for. */
  await() {
    this.#say("…", "");
    this.parts.hint.hidden = true;
  }

  show(generation) {
    const { request } = generation;
    this.#say(`${subject(request)}, ${count(request.batch)}`, "");
    this.parts.hint.hidden = true;
    this.announced = generation.finished_at ? generation.status : null;
  }

  describe(generation, { unattended }) {
    this.generation = generation;
    const { status, progress, request } = generation;
    const { parts } = this;
    const over = Boolean(generation.finished_at);
    const words = standing(generation, { unattended });
    this.element.dataset.status = status;
    parts.status.textContent = words;
    const model = status === "succeeded" ? [] : [generation.model]; // else the words above tell it
    parts.brief.textContent = [...model, inBrief(request)].join(" · ");
    parts.bar.hidden = status === "succeeded";
    parts.bar.value = progress.fraction;
    if (over && document.activeElement === parts.cancel) parts.title.focus();
    const several = status === "succeeded" && request.batch > 1;
    this.#offer(over ? ["again", several && "all", "link", "delete"] : ["cancel", "link"]);
    document.title = over ? "Emaki" : `${Math.floor(progress.fraction * 100)} % · Emaki`;
    if (this.announced === status) return;
    this.announced = status;
    this.live.textContent = status === "running" ? "Drawing has begun" : words;
  }

  /** It is not there, or not any more; `known`: what it asked for is, at least. */
  leave(words, known) {
    if (!known) this.#say("Not here", words);
    this.parts.error.hidden = this.parts.bar.hidden = true;
    this.parts.status.textContent = words;
    this.live.textContent = words;
    this.#offer(known ? ["again"] : []);
    document.title = "Emaki";
    this.parts.title.focus();
  }

  /** It could not even be asked for. */
  fail(words) {
    this.#say("Not reached", "");
    this.error(words);
  }

  error(text) {
    if (this.parts.error.textContent === text) return; // said already
    this.parts.error.textContent = text;
    this.parts.error.hidden = !text;
  }

  #say(title, words) {
    this.error("");
    this.element.dataset.status = "";
    this.parts.title.textContent = title;
    this.parts.status.textContent = words;
    this.parts.brief.textContent = "";
    this.parts.bar.hidden = true;
    document.title = "Emaki";
  }

  #offer(names) {
    for (const name of DEEDS) this.parts[name].hidden = !names.includes(name);
  }

  async #during(button, action) {
    button.disabled = true;
    try {
      await action();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.error(error.message);
    } finally {
      button.disabled = false;
    }
  }

  async #cancel() {
    try {
      await post(this.generation.urls.cancel); // its end comes through the stream
    } catch (error) {
      if (error.status !== 409) throw error; // it has ended meanwhile
    }
  }

  async #saveAll() {
    const { save } = await saving();
    const { id, urls, model } = this.generation;
    save(await blob(urls.grid), `emaki-${model.split("@")[0]}-${id.slice(0, 8)}.png`);
  }

  async #copyLink() {
    const link = `${location.origin}${addressOf(this.generation.id)}`;
    try {
      await navigator.clipboard.writeText(link);
      this.live.textContent = this.parts.status.textContent = "The link is copied; a key is needed to see it.";
    } catch {
      // Without HTTPS, browsers keep the clipboard to themselves; the address bar has it, too.
      this.parts.status.textContent = link;
    }
  }

  async #delete() {
    const { confirm } = await asking();
    if (!(await confirm("Delete this drawing and all its pictures?"))) return;
    const { id, urls } = this.generation;
    await erase(urls.self);
    this.onDeleted(id);
  }
}
