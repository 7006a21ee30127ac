// What the form's fields offer: what the chosen model's card says, from its defaults on.

import { SAMPLERS, at, inTurn } from "./request.js";

export const NO_CLASS = "none";
export const IN_TURN = "turn";

/** Let the fields of `form` offer what a model can do. */
export function follow(form, card) {
  const fields = form.elements;
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
  followWords(form, card);
  fields.sampler.replaceChildren(
    ...card.samplers.map((name) => new Option(SAMPLERS.get(name) ?? name, name)),
  );
  choose(fields.sampler, defaults.sampler);
  const most = card.consistency_steps || card.timesteps;
  fields.steps.max = most;
  fields.steps.value = defaults.steps;
  fields.guidance_scale.value = defaults.guidance_scale;
  fields.guidance_scale.disabled = !guided;
  form.querySelector("#steps-hint").textContent = `1 to ${most}`;
  form.querySelector("#guidance_scale-hint").textContent = guided ? "1 is none" : "not with this model";
}

function followWords(form, card) {
  const fields = form.elements;
  const words = card.conditioning === "text";
  fields.prompt.closest(".field").hidden = fields.negative_prompt.closest(".field").hidden = !words;
  if (!words) return;
  const examples = card.prompt_examples;
  fields.prompt.list.replaceChildren(...examples.map((text) => new Option(text, text)));
  if (!fields.prompt.value) fields.prompt.value = examples[0] ?? "";
  form.querySelector("#prompt-hint").textContent = `up to ${card.prompt_tokens} tokens; a word is one or more`;
}

/** Let the fields ask for this again. */
export function fill(fields, request, card) {
  const one = at(request.class, 0);
  fields.class.value = inTurn(request.class, card) ? IN_TURN : String(card.classes.indexOf(one));
  if (fields.class.selectedIndex < 0) fields.class.selectedIndex = 0;
  fields.prompt.value = [request.prompt ?? ""].flat().find(Boolean) ?? "";
  fields.negative_prompt.value = request.negative_prompt ?? "";
  fields.negative_class.value = request.negative_class ?? "";
  fields.seed.value = request.seed;
  fields.batch.value = request.batch ?? 1;
  fields.steps.value = request.steps;
  choose(fields.sampler, request.sampler);
  fields.guidance_scale.value = request.guidance_scale;
}

/** Guidance weighs something against nothing: the model must know both, and not hold it already. */
export function isGuided(card) {
  return card.null_class && card.conditioning !== "none" && card.baked_guidance === null;
}

/** Select a value, also one that the page has not heard of: a newer version, a newer sampler. */
export function choose(select, value) {
  select.value = value;
  if (select.selectedIndex >= 0) return;
  select.add(new Option(value, value));
  select.value = value;
}
