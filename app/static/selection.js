// Choosing several generations of the history: to delete them, or to compare two.

import { ApiError, erase } from "./api.js";
import { lazily } from "./lazily.js";

const asking = lazily(() => import("./confirm.js"));

export class Selection {
  /** `entries` is the history's map; it calls `take` with each new one. */
  constructor(section, { entries, onGone, onCompare }) {
    Object.assign(this, { entries, onGone, onCompare });
    const part = (name) => section.querySelector(`#gallery-${name}`);
    this.list = section.querySelector("ol");
    this.toggle = part("choose");
    this.bar = part("chosen");
    this.words = part("chosen-words");
    this.compare = part("compare");
    this.remove = part("delete");
    this.note = part("note");
    part("all").addEventListener("click", () => this.#all());
    this.compare.addEventListener("click", () => this.#compare());
    this.remove.addEventListener("click", () => this.#delete());
    this.list.addEventListener("click", (event) => this.#click(event));
    this.list.addEventListener("change", () => this.tell());
  }

  take(entry) {
    entry.box.hidden = this.bar.hidden;
    this.tell();
  }

  /** Say how many are chosen, and what can be done with them. */
  tell() {
    const chosen = this.#chosen();
    this.words.textContent = chosen.length ? `${chosen.length} chosen` : "None chosen";
    this.remove.disabled = chosen.length === 0;
    this.compare.disabled =
      chosen.length !== 2 || chosen.some(({ generation }) => generation.images.length === 0);
  }

  #chosen() {
    return [...this.entries.values()].filter(({ box }) => box.checked);
  }

  /** Begin or end choosing. */
  switch() {
    const on = this.bar.hidden;
    this.bar.hidden = !on;
    this.toggle.setAttribute("aria-pressed", on);
    for (const { box } of this.entries.values()) {
      box.hidden = !on;
      box.checked = false;
    }
    this.tell();
  }

  #all() {
    const entries = [...this.entries.values()];
    const every = entries.every(({ box }) => box.checked);
    for (const { box } of entries) box.checked = !every;
    this.tell();
  }

  /** While choosing, a click anywhere on an entry chooses it. */
  #click(event) {
    const link = event.target.closest("a");
    if (this.bar.hidden || !link) return;
    event.preventDefault();
    const { box } = this.entries.get(link.closest("li").dataset.id);
    box.checked = !box.checked;
    this.tell();
  }

  #compare() {
    const [newer, older] = this.#chosen().map(({ generation }) => generation);
    this.onCompare(older, newer);
  }

  async #delete() {
    const ids = this.#chosen().map(({ generation }) => generation.id);
    const one = "Delete this drawing and all its pictures?";
    const many = `Delete these ${ids.length} drawings and all their pictures?`;
    let deleted = 0;
    const tell = (more = "") => (this.note.textContent = `${deleted} of ${ids.length} deleted${more}`);
    try {
      const { confirm } = await asking();
      if (!(await confirm(ids.length === 1 ? one : many))) return;
      this.remove.disabled = true;
      for (const id of ids) {
        await erase(`/v1/generations/${id}`);
        deleted += 1;
        this.onGone(id);
        tell();
      }
      this.toggle.focus();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      tell(`. ${error.message}`);
    }
    this.tell();
  }
}
