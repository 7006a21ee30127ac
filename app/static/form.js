// The request form: its fields follow the chosen model's card, errors stand beside their fields.

import { ApiError } from "./api.js";
import { Beyond, Notice } from "./asides.js";
import { Beginning } from "./beginning.js";
import { texts } from "./png.js";
import { SAMPLERS, beyondForm, fromText, previewEvery, stripFrames } from "./request.js";

const DICE_SEEDS = 1_000_000;
const TOO_MANY = 1000;
const NO_CLASS = "none";
const IN_TURN = "turn";

export class Form {
  /** `onAsk(request)` gets what the filled form asks for, as the API wants it. */
  constructor(element, { onAsk }) {
    this.element = element;
    this.fields = element.elements;
    this.alert = element.querySelector("#form-error");
    this.button = element.querySelector("button[type=submit]");
    this.cards = [];
    this.asking = false;
    this.beyond = new Beyond(element.querySelector("#also"));
    this.notice = new Notice(element.querySelector("#ask-notice"));
    this.beginning = new Beginning(element.querySelector("#begin"));
    this.fields.init_image.addEventListener("change", ({ target }) => {
      if (target.files.length) this.#begin(() => this.beginning.take(target.files[0]));
      target.value = ""; // the same file may be chosen again
    });
    for (const name of ["model", "sampler"]) {
      this.fields[name].addEventListener("change", () => this.beyond.keep({}));
    }
    this.fields.model.addEventListener("change", () => this.#follow());
    element.querySelector("#dice").addEventListener("click", () => {
      this.fields.seed.value = Math.floor(Math.random() * DICE_SEEDS);
      this.#clear("seed");
    });
    element.addEventListener("input", (event) => this.#clear(event.target.name));
    element.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.asking) return;
      this.clearErrors();
      this.notice.say("");
      const wrong = this.#unreadable();
      if (wrong.length) this.#mark(wrong);
      else onAsk(this.#read());
    });
  }

  /** Offer these models, keeping what is chosen where it still exists. */
  offer(cards) {
    const chosen = this.fields.model.value;
    this.cards = cards;
    const names = cards.flatMap((card) => {
      const older = card.versions.filter((version) => version !== card.version).reverse();
      return [card.id, ...older];
    });
    this.fields.model.replaceChildren(...names.map((name) => new Option(name, name)));
    this.fields.model.value = names.includes(chosen) ? chosen : (names[0] ?? "");
    this.element.querySelector("fieldset").disabled = cards.length === 0;
    if (cards.length && this.fields.model.value !== chosen) this.#follow();
  }

  /** The card of a model, or of one of its versions. */
  card(model) {
    return this.cards.find((card) => card.id === model.split("@")[0]);
  }

  /** Fill the form so that it asks for this again. */
  fill(request) {
    const card = this.card(request.model);
    if (!card) {
      this.say(`${request.model} is not served any more; choose another model.`);
      return;
    }
    const { fields } = this;
    choose(fields.model, request.model === card.version ? card.id : request.model);
    this.#follow();
    fields.class.value = Array.isArray(request.class)
      ? IN_TURN
      : String(card.classes.indexOf(request.class));
    if (fields.class.selectedIndex < 0) fields.class.selectedIndex = 0;
    fields.prompt.value = [request.prompt ?? ""].flat().find(Boolean) ?? "";
    fields.negative_prompt.value = request.negative_prompt ?? "";
    fields.negative_class.value = request.negative_class ?? "";
    fields.seed.value = request.seed;
    fields.batch.value = request.batch ?? 1;
    fields.steps.value = request.steps;
    choose(fields.sampler, request.sampler);
    fields.guidance_scale.value = request.guidance_scale;
    this.beyond.keep(beyondForm(request, card));
    this.clearErrors();
    const { init_image, strength, mask } = request;
    if (init_image) this.beginFrom(init_image, { strength, mask });
    else this.beginning.clear();
    this.button.focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "nearest" });
  }

  /** Begin from a picture that is on the server. */
  beginFrom(url, how) {
    this.#begin(() => this.beginning.takeAddress(url, how));
  }

  /** A picture was dropped: one that was drawn here brings its settings, any other is begun from. */
  async take(file) {
    const text = texts(await file.arrayBuffer());
    const request = fromText(text);
    if (!request || !this.card(request.model)) return this.#begin(() => this.beginning.take(file));
    this.fill(request);
    const begun = text.init_image ? " It was begun from a picture, which is not in the file." : "";
    const instead = () => this.#begin(() => this.beginning.take(file));
    this.notice.say(`These are the settings of ${file.name}.${begun}`, instead);
  }

  async #begin(action) {
    this.notice.say("");
    this.clearErrors();
    try {
      await action();
      this.element.querySelector("#begin").scrollIntoView({ block: "nearest" });
    } catch (error) {
      const detail = error instanceof ApiError ? error.message : "the browser cannot read it as a picture";
      this.#mark([{ field: "init_image", detail }]);
    }
  }

  /** One request at a time; the button stays enabled, for a disabled one would lose the focus. */
  set busy(value) {
    this.asking = value;
    this.button.textContent = value ? "Asking …" : "Draw";
  }

  /** Say in words why a request was refused, beside the fields that are to blame. */
  showError(error) {
    const shown = error.fields?.filter(({ field }) => this.#message(field)) ?? [];
    this.#mark(shown);
    if (!shown.length || shown.length < error.fields.length) this.say(error.message);
  }

  say(text) {
    this.alert.textContent = text;
    this.alert.hidden = !text;
  }

  clearErrors() {
    this.say("");
    for (const field of this.fields) this.#clear(field.name);
  }

  /** Let the fields offer what the chosen model can do, and start from its defaults. */
  #follow() {
    const { fields } = this;
    const card = this.card(fields.model.value);
    const { defaults } = card;
    const guided = isGuided(card);
    fields.class.replaceChildren(
      ...(card.null_class ? [new Option("No class", NO_CLASS)] : []),
      ...(card.classes.length > 1 ? [new Option("Each class in turn", IN_TURN)] : []),
      ...card.classes.map((name, index) => new Option(name, index)),
    );
    fields.class.value = "0";
    fields.class.closest(".field").hidden = card.classes.length === 0;
    fields.negative_class.replaceChildren(
      new Option("nothing in particular", ""),
      ...card.classes.map((name) => new Option(name, name)),
    );
    fields.negative_class.closest(".field").hidden = !guided || card.classes.length === 0;
    this.#followWords(card);
    fields.sampler.replaceChildren(
      ...card.samplers.map((name) => new Option(SAMPLERS.get(name) ?? name, name)),
    );
    choose(fields.sampler, defaults.sampler);
    const most = card.consistency_steps || card.timesteps;
    fields.steps.max = most;
    fields.steps.value = defaults.steps;
    fields.guidance_scale.value = defaults.guidance_scale;
    fields.guidance_scale.disabled = !guided;
    this.element.querySelector("#steps-hint").textContent = `1 to ${most}`;
    this.element.querySelector("#guidance_scale-hint").textContent = guided
      ? "1 is none"
      : "not with this model";
  }

  #followWords(card) {
    const { fields } = this;
    const words = card.conditioning === "text";
    fields.prompt.closest(".field").hidden = fields.negative_prompt.closest(".field").hidden = !words;
    if (!words) return;
    const examples = card.prompt_examples;
    fields.prompt.list.replaceChildren(...examples.map((text) => new Option(text, text)));
    if (!fields.prompt.value) fields.prompt.value = examples[0] ?? "";
    this.element.querySelector("#prompt-hint").textContent = `up to ${card.prompt_tokens} tokens; a word is one or more`;
  }

  #read() {
    const { fields } = this;
    const card = this.card(fields.model.value);
    const number = (field) => (field.value === "" ? undefined : Number(field.value));
    const batch = number(fields.batch) ?? 1;
    const steps = number(fields.steps);
    // JSON leaves undefined fields out, and the server chooses.
    return {
      model: fields.model.value,
      class: this.#class(card, batch),
      negative_class: fields.negative_class.value || undefined,
      ...this.#words(card),
      // As it was typed: it may be larger than JavaScript's exact numbers.
      seed: fields.seed.value.trim() === "" ? undefined : String(BigInt(fields.seed.value.trim())),
      batch,
      steps,
      sampler: fields.sampler.value,
      guidance_scale: isGuided(card) ? number(fields.guidance_scale) : undefined,
      ...this.beginning.read(),
      ...this.beyond.settings,
      strip: stripFrames(card, Math.max(1, batch)),
      preview_every: previewEvery(Math.min(Math.max(1, steps ?? card.defaults.steps), card.timesteps)),
    };
  }

  #class(card, batch) {
    const chosen = this.fields.class.value;
    if (!card.classes.length || chosen === NO_CLASS) return undefined;
    if (chosen !== IN_TURN) return card.classes[chosen];
    const length = Math.min(batch, TOO_MANY); // the server says so of `batch`
    return Array.from({ length }, (_, i) => card.classes[i % card.classes.length]);
  }

  #words(card) {
    if (card.conditioning !== "text") return {};
    const [prompt, negative_prompt] = [this.fields.prompt, this.fields.negative_prompt].map(
      (field) => field.value.trim() || undefined,
    );
    return { prompt, negative_prompt };
  }

  /** What cannot even be sent; everything else the server judges. */
  #unreadable() {
    const { fields } = this;
    const wrong = [fields.batch, fields.steps, fields.guidance_scale]
      .filter((field) => field.validity.badInput)
      .map((field) => ({ field: field.name, detail: "this is no number; type one" }));
    const seed = fields.seed.value.trim();
    if (!/^\d*$/.test(seed)) {
      const detail = `${seed.slice(0, 40)} is no whole number; type digits, or leave it empty`;
      wrong.push({ field: "seed", detail });
    }
    return wrong;
  }

  #message(name) {
    return this.element.querySelector(`#${CSS.escape(name)}-error`);
  }

  #mark(errors) {
    for (const { field, detail } of errors) {
      const message = this.#message(field);
      message.textContent = detail;
      message.hidden = false;
      this.fields[field].setAttribute("aria-invalid", "true");
    }
    if (errors.length) this.fields[errors[0].field].focus();
  }

  #clear(name) {
    const message = name && this.#message(name);
    if (!message) return;
    message.hidden = true;
    message.textContent = "";
    this.fields[name].removeAttribute("aria-invalid");
  }
}

/** Guidance weighs something against nothing: the model must know both, and not hold it already. */
function isGuided(card) {
  return card.null_class && card.conditioning !== "none" && card.baked_guidance === null;
}

/** Select a value, also one that the page has not heard of: a newer version, a newer sampler. */
function choose(select, value) {
  select.value = value;
  if (select.selectedIndex >= 0) return;
  select.add(new Option(value, value));
  select.value = value;
}
