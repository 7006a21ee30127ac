// What the filled form asks for, and what is wrong with it. Changes nothing.

import { IN_TURN, NO_CLASS, isGuided } from "./fields.js";
import { previewEvery, stripFrames } from "./request.js";

const MOST_SEED = 2n ** 63n - 1n;

/** The request, as the API wants it; fields that are undefined are left to the server. */
export function read(fields, card) {
  const batch = number(fields.batch) ?? 1;
  const steps = number(fields.steps);
  const seed = fields.seed.value.trim();
  return {
    model: fields.model.value,
    class: chosenClass(fields.class.value, card, batch),
    negative_class: fields.negative_class.value || undefined,
    ...words(fields, card),
    seed: seed === "" ? undefined : String(BigInt(seed)), // may be beyond JavaScript's exact numbers
    batch,
    steps,
    sampler: fields.sampler.value,
    guidance_scale: isGuided(card) ? number(fields.guidance_scale) : undefined,
    strip: stripFrames(card, batch),
    preview_every: previewEvery(Math.min(steps ?? card.defaults.steps, card.timesteps)),
  };
}

/** All that cannot be asked for, so that it is marked at once. What depends on more, the server says. */
export function faults(fields) {
  return [fields.batch, fields.steps, fields.guidance_scale]
    .filter((field) => !field.disabled)
    .map((field) => ({ field: field.name, detail: numberFault(field) }))
    .concat({ field: "seed", detail: seedFault(fields) })
    .filter(({ detail }) => detail);
}

function numberFault({ validity, value, min, max }) {
  if (validity.badInput) return "this is no number; type one";
  if (validity.rangeOverflow) return `${value} is above the most, ${max}; choose ${max} or less`;
  if (validity.rangeUnderflow) return `${value} is below the least, ${min}; choose ${min} or more`;
  if (validity.stepMismatch) return `${value} is no whole number; choose one`;
  return "";
}

function seedFault(fields) {
  const seed = fields.seed.value.trim();
  if (!/^\d*$/.test(seed)) {
    return `${seed.slice(0, 40)} is no whole number; type digits, or leave it empty`;
  }
  const last = BigInt(seed || 0) + BigInt(Math.trunc(number(fields.batch) ?? 1)) - 1n;
  if (seed && last > MOST_SEED) {
    return `the last picture's, ${last}, is above the most, ${MOST_SEED}; choose a smaller one`;
  }
  return "";
}

function number(field) {
  return field.value === "" ? undefined : Number(field.value);
}

function chosenClass(chosen, card, batch) {
  if (!card.classes.length || chosen === NO_CLASS) return undefined;
  if (chosen !== IN_TURN) return card.classes[chosen];
  return Array.from({ length: batch }, (_, i) => card.classes[i % card.classes.length]);
}

function words(fields, card) {
  if (card.conditioning !== "text") return {};
  const [prompt, negative_prompt] = [fields.prompt, fields.negative_prompt].map(
    (field) => field.value.trim() || undefined,
  );
  return { prompt, negative_prompt };
}
