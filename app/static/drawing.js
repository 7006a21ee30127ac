// One picture of a generation: the request that draws it alone, its parameters, its file, its command.
// No network, no page.

import { SAMPLERS, at, body, isPartial, percent, title } from "./request.js";

/** The request that draws one image of a generation alone. */
export function single(generation, image) {
  const { model, steps, sampler, guidance_scale, guidance_interval, eta } = generation.request;
  const asked = { model, seed: image.seed, steps, sampler, guidance_scale };
  const prompt = at(generation.request.prompt, image.index);
  if (image.class !== null) asked.class = image.class;
  if (prompt !== null) asked.prompt = prompt;
  const ofSomething = title(generation.request, image.index) !== null;
  const guided = ofSomething && guidance_scale !== 0 && guidance_scale !== 1;
  if (guided) {
    asked.guidance_interval = guidance_interval; // the model's default may be another
    const { negative_class, negative_prompt } = generation.request;
    if (negative_class) asked.negative_class = negative_class;
    if (negative_prompt) asked.negative_prompt = negative_prompt;
  }
  return { ...asked, ...(eta && { eta }), ...beginning(generation.request, image.index) };
}

/** What one image begins with, where that is more than its seed's noise. */
function beginning({ init_image, strength, mask, variation_seed, variation_strength }, index) {
  return {
    ...(init_image && { init_image, strength, ...(mask && { mask }) }),
    ...(variation_strength && {
      variation_seed: String(BigInt(variation_seed) + BigInt(index)),
      variation_strength,
    }),
  };
}

export function parameters(generation, image) {
  const { request } = generation;
  const rows = [
    ["Model", request.model],
    ...subjectRows(request, image.index),
    ["Seed", image.seed],
    ["Steps", String(request.steps)],
    ["Sampler", SAMPLERS.get(request.sampler) ?? request.sampler],
    ["Guidance", String(request.guidance_scale)],
  ];
  if (isPartial(request.guidance_interval)) {
    rows.push(["Guided", `${request.guidance_interval.map(percent).join(" to ")} of the run`]);
  }
  if (request.eta) rows.push(["Eta", String(request.eta)]);
  if (request.init_image) {
    const kept = request.mask ? ", the rest kept" : "";
    rows.push(["Begun from", `a picture, ${percent(request.strength)} anew${kept}`]);
  }
  if (request.variation_strength) {
    const { variation_seed } = beginning(request, image.index);
    rows.push(["Variation", `${percent(request.variation_strength)} of seed ${variation_seed}`]);
  }
  if (image.width) rows.push(["Size", `${image.width} × ${image.height}`]);
  return rows;
}

/** A file name that says what the picture is. */
export function fileName(generation, image) {
  const model = generation.request.model.split("@")[0];
  const parts = ["emaki", model, title(generation.request, image.index) ?? "", image.seed].map((part) =>
    part.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, ""),
  );
  return `${parts.filter(Boolean).join("-").slice(0, 100)}.png`;
}

/** Rows that say what a picture is of. */
function subjectRows(request, index) {
  const prompt = at(request.prompt, index);
  const away = request.negative_prompt ?? request.negative_class;
  const subject = prompt === null ? ["Class", at(request.class, index) ?? "none"] : ["Prompt", prompt];
  return [subject, ...(away ? [["Less like", away]] : [])];
}

/** A command for a POSIX shell that draws the picture; the key stays in a variable. */
export function curl(asked, { origin, withKey, file }) {
  const lines = ["curl -H 'Prefer: wait=60' -H 'Accept: image/png' -H 'content-type: application/json'"];
  if (withKey) lines.push(`-H "Authorization: Bearer $EMAKI_API_KEY"`);
  lines.push(`-d ${quoted(body(asked))}`, `${quoted(`${origin}/v1/generations`)} -o ${quoted(file)}`);
  return lines.join(" \\\n  ");
}

function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
