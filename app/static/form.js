// The request form: it is filled by a person, a drawing or a file, and asks when it is sent.

import { ApiError } from "./api.js";
import { Beyond, Notice } from "./asides.js";
import { choose, fill, follow } from "./fields.js";
import { lazily } from "./lazily.js";
import { Marks } from "./marks.js";
import { forget, keep, keepPicture, kept, keptPicture, restore } from "./memory.js";
import { faults, read } from "./reading.js";
import { beyondForm, fromText } from "./request.js";

const DICE_SEEDS = 1_000_000;
const files = lazily(() => import("./png.js"));

export class Form {
  /** `onAsk(request)` gets what the filled form asks for, as the API wants it. */
  constructor(element, { onAsk }) {
    this.element = element;
    this.fields = element.elements;
    this.marks = new Marks(element, element.querySelector("#form-error"));
    this.button = element.querySelector("button[type=submit]");
    this.cards = [];
    this.asking = false;
    this.beyond = new Beyond(element.querySelector("#also"), { onChange: () => this.#keep() });
    this.notice = new Notice(element.querySelector("#ask-notice"));
    this.beginning = null; // a picture to begin from, once there was one
    this.begun = lazily(
      () => import("./beginning.js"),
      ({ Beginning }) => (this.beginning = new Beginning(element.querySelector("#begin"))),
    );
    this.fields.init_image.addEventListener("change", ({ target }) => {
      if (target.files.length) this.#beginWith(target.files[0]);
      target.value = ""; // the same file may be chosen again
    });
    for (const name of ["model", "sampler"]) {
      this.fields[name].addEventListener("change", () => this.beyond.keep({}));
    }
    for (const name of ["class", "prompt", "batch"]) {
      this.fields[name].addEventListener("change", () => this.beyond.leave("class", "prompt"));
    }
    this.fields.model.addEventListener("change", () => this.#follow());
    element.querySelector("#dice").addEventListener("click", () => {
      this.fields.seed.value = Math.floor(Math.random() * DICE_SEEDS);
      this.marks.clear("seed");
      this.#keep();
    });
    for (const change of ["input", "change"]) element.addEventListener(change, () => this.#keep());
    addEventListener("pagehide", () => this.cards.length && keepPicture(this.beginning?.keepsake));
    element.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.asking) return;
      this.marks.clearAll();
      this.notice.say("");
      const wrong = faults(this.fields);
      if (wrong.length) this.marks.mark(wrong);
      else onAsk(this.#read());
    });
  }

  /** Offer these models, keeping what is chosen where it still exists. */
  offer(cards) {
    const first = this.cards.length === 0;
    const chosen = this.fields.model.value;
    this.cards = cards;
    const names = cards.flatMap((card) => {
      const older = card.versions.filter((version) => version !== card.version).reverse();
      return [card.id, ...older];
    });
    this.fields.model.replaceChildren(...names.map((name) => new Option(name, name)));
    this.fields.model.value = names.includes(chosen) ? chosen : (names[0] ?? "");
    this.element.querySelector("fieldset").disabled = cards.length === 0;
    if (!cards.length) return;
    if (first) this.#remember(names);
    else if (this.fields.model.value !== chosen) this.#follow();
  }

  /** The card of a model, or of one of its versions. */
  card(model) {
    return this.cards.find((card) => card.id === model.split("@")[0]);
  }

  /** Ask this model from now on. */
  choose(model) {
    choose(this.fields.model, model);
    this.#follow();
    this.beyond.keep({});
  }

  /** Fill the form so that it asks for this again. */
  fill(request) {
    const card = this.card(request.model);
    if (!card) {
      this.marks.say(`${request.model} is not served any more; choose another model.`);
      return;
    }
    choose(this.fields.model, request.model === card.version ? card.id : request.model);
    this.#follow();
    fill(this.fields, request, card);
    this.beyond.keep(beyondForm(request, card));
    this.marks.clearAll();
    const { init_image, strength, mask } = request;
    if (init_image) this.beginFrom(init_image, { strength, mask });
    else this.beginning?.clear();
    this.button.focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "nearest" });
  }

  /** Begin from a picture that is on the server. */
  beginFrom(url, how) {
    this.#begin((beginning) => beginning.takeAddress(url, how));
  }

  /** A picture was dropped: one that was drawn here brings its settings, any other is begun from. */
  async take(file) {
    const text = await this.#texts(file);
    const request = fromText(text);
    if (!request || !this.card(request.model)) return this.#beginWith(file);
    this.fill(request);
    const begun = text.init_image ? " It was begun from a picture, which is not in the file." : "";
    this.notice.say(`These are the settings of ${file.name}.${begun}`, () => this.#beginWith(file));
  }

  /** What the file tells of itself; nothing, if it cannot be looked into. */
  async #texts(file) {
    try {
      const { texts } = await files();
      return texts(await file.arrayBuffer());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return {};
    }
  }

  #beginWith(file) {
    return this.#begin((beginning) => beginning.take(file));
  }

  async #begin(action) {
    this.notice.say("");
    this.marks.clearAll();
    try {
      await action(await this.begun());
      this.element.querySelector("#begin").scrollIntoView({ block: "nearest" });
    } catch (error) {
      const detail = error instanceof ApiError ? error.message : "the browser cannot read it as a picture";
      this.marks.mark([{ field: "init_image", detail }]);
    }
  }

  /** One request at a time; the button stays enabled, for a disabled one would lose the focus. */
  set busy(value) {
    this.asking = value;
    this.button.textContent = value ? "Asking …" : "Draw";
  }

  /** Say in words why a request was refused, beside the fields that are to blame. */
  showError(error) {
    this.marks.show(error);
  }

  say(text) {
    this.marks.say(text);
  }

  #follow() {
    follow(this.element, this.card(this.fields.model.value));
  }

  #keep() {
    if (this.cards.length) keep(this.fields, this.beyond.settings);
  }

  /** As it was before the page was loaded anew, if its model is still there. */
  #remember(names) {
    const before = kept();
    const known = before && names.includes(before.values.model);
    if (known) this.fields.model.value = before.values.model;
    this.#follow();
    if (!known) return;
    restore(this.fields, before.values);
    this.beyond.keep(before.beyond);
    this.#rememberPicture();
  }

  async #rememberPicture() {
    const before = keptPicture();
    if (!before) return;
    try {
      await (await this.begun()).takeAddress(before.source, before.how);
    } catch {
      keepPicture(null); // it is gone from the server, or never was a picture
    }
  }

  /** Keep nothing of what it holds. */
  forget() {
    this.cards = [];
    forget();
  }

  #read() {
    const card = this.card(this.fields.model.value);
    return { ...read(this.fields, card), ...this.beginning?.read(), ...this.beyond.settings };
  }
}
