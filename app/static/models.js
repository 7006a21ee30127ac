// The models, and one model's card: what it draws, how well that was measured, and a grid of it.

import { ApiError, blob, json } from "./api.js";
import { figures } from "./figures.js";
import { Grid } from "./grid.js";
import { drawSheet } from "./pixels.js";
import { SAMPLERS } from "./request.js";
import { pair } from "./tables.js";

export class Models {
  /** `onChoose(model)` is called to draw with one. */
  constructor(section, { onChoose }) {
    this.section = section;
    this.title = section.querySelector("h2");
    this.words = section.querySelector("#models-words");
    this.list = section.querySelector("#models-list");
    this.card = section.querySelector("#card");
    this.asking = new AbortController();
    this.grid = new Grid(this.card, {
      onPictures: async (canvas, generation) => {
        const bitmap = await createImageBitmap(await blob(generation.urls.grid));
        drawSheet(canvas, bitmap, generation.images.length);
      },
    });
    section.querySelector("#card-choose").addEventListener("click", () => onChoose(this.shown.id));
  }

  /** Show the models, or the card of the one that the address names. */
  async enter({ name }) {
    this.leave();
    const { signal } = (this.asking = new AbortController());
    this.title.textContent = name ?? "Models";
    this.list.hidden = this.card.hidden = true;
    this.words.textContent = "";
    try {
      const path = name === null ? "/v1/models" : `/v1/models/${encodeURIComponent(name)}`;
      const found = await json(path, { signal });
      if (signal.aborted) return;
      if (name === null) this.#showAll(found.data);
      else this.#show(found);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) return;
      this.words.textContent =
        error.status === 404 ? "There is no model of this name here; see all models." : error.message;
    }
  }

  leave() {
    this.asking.abort();
    this.grid.stop();
  }

  #showAll(cards) {
    this.words.textContent = cards.length ? "" : "No model yet: a worker is still loading one, or none runs.";
    this.list.hidden = false;
    this.list.replaceChildren(
      ...cards.map((card) => {
        const [item, link, facts] = ["li", "a", "span"].map((tag) => document.createElement(tag));
        link.href = `/models/${encodeURIComponent(card.id)}`;
        link.textContent = card.id;
        facts.textContent = [size(card), drawnFrom(card), card.version].join(" · ");
        item.append(link, facts);
        return item;
      }),
    );
  }

  #show(card) {
    this.shown = card;
    const { defaults } = card;
    const sampler = (name) => SAMPLERS.get(name) ?? name;
    const rows = [
      ["Version", card.version],
      ["Since", new Date(card.created * 1000).toLocaleDateString(undefined, { dateStyle: "medium" })],
      ["Pictures", size(card)],
      ["Drawn from", drawnFrom(card)],
      ["By default", `${defaults.steps} steps, ${sampler(defaults.sampler)}, guidance ${defaults.guidance_scale}`],
      ["Steps", `1 to ${card.consistency_steps || card.timesteps}`],
      ["Samplers", card.samplers.map(sampler).join(", ")],
    ];
    if (card.versions.length > 1) rows.push(["Versions", card.versions.join(", ")]);
    if (card.baked_guidance !== null) rows.push(["Guidance", `${card.baked_guidance}, held by its weights`]);
    if (card.classes.length) rows.push(["Classes", some(card.classes)]);
    this.card.querySelector("dl").replaceChildren(...rows.map(([name, value]) => pair(name, value)));
    this.card.querySelector("#card-figures").replaceChildren(...figures(card.quality));
    this.card.querySelector("#card-unmeasured").hidden = Object.keys(card.quality).length > 0;
    this.card.querySelector("#card-hint").textContent = `${each(card)}, by default and from seed 0 on.`;
    this.card.hidden = false;
    this.grid.show(card);
  }
}

function size({ width, height, channels }) {
  const kind = { 1: "grey", 3: "coloured", 4: "coloured, with transparency" }[channels] ?? `${channels} channels`;
  return `${width} × ${height} pixels, ${kind}`;
}

function drawnFrom({ conditioning, classes }) {
  if (conditioning === "text") return "words";
  return classes.length ? `${classes.length} classes` : "noise alone";
}

function each({ conditioning, classes, prompt_examples }) {
  if (conditioning === "text") return prompt_examples.length ? "Its own examples in turn" : "Several seeds";
  return classes.length ? "Each class in turn" : "Several seeds";
}

function some(names) {
  const shown = names.slice(0, 40).join(", ");
  return names.length > 40 ? `${shown} and ${names.length - 40} more` : shown;
}
