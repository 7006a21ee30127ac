// A model's grid: one picture of each class, or of several seeds, all from one seed on. It is drawn
// like anything else when somebody asks for it, and found again in the history.

import { ApiError, json } from "./api.js";
import { addressOf } from "./router.js";

const SEED = 0;
const LEAST = 16; // pictures, so that it is a grid with few classes, too
const MOST = 64;

export class Grid {
  /** `onPictures(canvas, generation)` draws them. */
  constructor(element, { onPictures }) {
    this.canvas = element.querySelector("#card-grid");
    this.link = element.querySelector("#card-link");
    this.button = element.querySelector("#card-draw");
    this.words = element.querySelector("#card-words");
    this.onPictures = onPictures;
    this.showing = new AbortController();
    this.button.addEventListener("click", () => this.#draw());
  }

  /** Show the one that was drawn before, or offer to draw it. */
  async show(card) {
    this.stop();
    this.card = card;
    this.canvas.hidden = this.link.hidden = true;
    this.button.hidden = false;
    this.#say("");
    await this.#guarded(async (signal) => {
      const query = new URLSearchParams({ model: card.version, seed: SEED, status: "succeeded", limit: 20 });
      const { data } = await json(`/v1/generations?${query}`, { signal });
      const wanted = asked(card);
      const found = data.find(({ request }) => isThat(request, wanted, card));
      if (found) await this.#show(found, signal);
    });
  }

  stop() {
    this.showing.abort();
    this.showing = new AbortController();
  }

  #draw() {
    return this.#guarded(async (signal) => {
      this.#say("Drawing …");
      let generation = await json("/v1/generations", {
        method: "POST",
        headers: { "content-type": "application/json", Prefer: "wait=30" },
        body: JSON.stringify(asked(this.card)),
        signal,
      });
      while (!generation.finished_at) {
        this.#say(`${Math.floor(generation.progress.fraction * 100)} % drawn …`);
        generation = await json(generation.urls.self, { headers: { Prefer: "wait=5" }, signal });
        await new Promise((resolve) => setTimeout(resolve, 500));
        signal.throwIfAborted();
      }
      if (generation.status !== "succeeded") throw new ApiError(500, `It was ${generation.status}.`);
      await this.#show(generation, signal);
    });
  }

  async #show(generation, signal) {
    await this.onPictures(this.canvas, generation);
    signal.throwIfAborted();
    this.canvas.hidden = this.link.hidden = false;
    this.button.hidden = true;
    this.link.href = addressOf(generation.id);
    this.#say("");
  }

  async #guarded(action) {
    const { signal } = this.showing;
    this.button.disabled = true;
    try {
      await action(signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.#say(error.status === 401 ? "" : error.message);
    } finally {
      if (!signal.aborted) this.button.disabled = false;
    }
  }

  #say(words) {
    this.words.textContent = words;
  }
}

/** The request of a card's grid: the defaults, in words that stand for each picture. */
function asked(card) {
  const names = card.conditioning === "text" ? card.prompt_examples : card.classes;
  const rounds = Math.ceil(LEAST / Math.max(1, names.length));
  const batch = Math.min(MOST, names.length ? names.length * rounds : LEAST);
  const each = Array.from({ length: batch }, (_, i) => names[i % names.length]);
  const of = card.conditioning === "text" ? { prompt: each } : { class: each };
  return { model: card.version, seed: SEED, batch, ...(names.length ? of : {}) };
}

/** Whether a generation's request is the same; the server has made the choices that it left open. */
function isThat(request, wanted, { defaults }) {
  const list = (value) => JSON.stringify([value ?? null].flat());
  return (
    request.seed === String(wanted.seed) &&
    request.batch === wanted.batch &&
    request.steps === defaults.steps &&
    request.sampler === defaults.sampler &&
    request.guidance_scale === defaults.guidance_scale &&
    list(request.class) === list(wanted.class) &&
    list(request.prompt) === list(wanted.prompt)
  );
}
