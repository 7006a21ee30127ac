// What a request is in words, in JSON and as a curl command. No network, no page.

export const SAMPLERS = new Map([
  ["ddpm", "DDPM"],
  ["ddim", "DDIM"],
  ["dpmpp_2m", "DPM-Solver++ 2M"],
  ["dpmpp_2m_sde", "DPM-Solver++ 2M SDE"],
  ["learned", "Learned steps"],
  ["consistency", "Consistency"],
]);
const MOST_STRIP_PIXELS = 2 ** 23;
const MOST_FRAMES = 16;
const PREVIEWS = 12;

/** The body of a request; its seeds are strings of digits, which JSON gets as numbers. */
export function body(asked) {
  return JSON.stringify(asked).replace(/"((?:variation_)?seed)":"(\d+)"/g, '"$1":$2');
}

/** How many strip frames to ask for: sixteen, fewer where that many pixels would be a burden. */
export function stripFrames(card, batch) {
  const affordable = Math.floor(MOST_STRIP_PIXELS / (card.width * card.height * batch));
  return Math.max(2, Math.min(MOST_FRAMES, affordable));
}

/** Steps between previews, so that about a dozen come. */
export function previewEvery(steps) {
  return Math.max(1, Math.ceil(steps / PREVIEWS));
}

/** The request that a PNG's text chunks tell of; null of one that was not drawn here. */
export function fromText(text) {
  if (text.Software !== "Emaki") return null;
  const { model, seed, sampler, prompt, negative_class, negative_prompt, variation_seed } = text;
  const number = (name) => (text[name] === undefined ? undefined : Number(text[name]));
  return {
    ...{ model, seed, sampler, prompt, negative_class, negative_prompt, variation_seed },
    class: text.class || null,
    steps: number("steps"),
    guidance_scale: number("guidance_scale"),
    guidance_interval: (text.guidance_interval ?? "0, 1").split(",").map(Number),
    eta: number("eta"),
    scale: number("scale"),
    variation_strength: number("variation_strength"),
  };
}

/** What a request asks for beyond the form's fields. */
export function beyondForm(request, card) {
  const { eta, scale, guidance_interval, variation_seed, variation_strength, prompt } = request;
  const usual = String(card.defaults.guidance_interval);
  return {
    ...(Array.isArray(request.class) && !inTurn(request.class, card) && { class: request.class }),
    ...(Array.isArray(prompt) && { prompt }),
    ...(eta && { eta }),
    ...(scale > 1 && { scale }),
    ...(guidance_interval && String(guidance_interval) !== usual && { guidance_interval }),
    ...(variation_strength && { variation_seed, variation_strength }),
  };
}

/** The same in words. */
export function inWords({ eta, scale, guidance_interval, variation_seed, variation_strength, ...lists }) {
  return [
    lists.class && "a class for each picture",
    lists.prompt && "a prompt for each picture",
    eta && `eta ${eta}`,
    scale && `enlarged ${scale} times`,
    guidance_interval && `guided ${guidance_interval.map(percent).join(" to ")}`,
    variation_strength && `${percent(variation_strength)} of seed ${variation_seed}`,
  ]
    .filter(Boolean)
    .join(", ");
}

/** Whether this is all of a model's classes, one after the other, as often as there are pictures. */
export function inTurn(classes, card) {
  return Array.isArray(classes) && classes.every((name, i) => name === card.classes[i % card.classes.length]);
}

/** What one image is of: its class, its prompt, or null. */
export function title(request, index) {
  return at(request.class, index) ?? at(request.prompt, index);
}

/** What a field says of one image: it may have an entry for each. */
export function at(value, index) {
  return (Array.isArray(value) ? value[index] : value) ?? null;
}

/** "Sneaker", "several classes", a prompt, or what the model draws without any. */
export function subject(request) {
  if (Array.isArray(request.class)) return "Several classes";
  if (Array.isArray(request.prompt)) return "Several prompts";
  return request.class ?? request.prompt ?? "No class";
}

/** What all pictures of a request share, in a line. */
export function inBrief(request) {
  const { steps, sampler, guidance_scale, guidance_interval, eta, scale } = request;
  const guided = guidance_scale === 1 ? "no guidance" : `guidance ${guidance_scale}`;
  const away = request.negative_prompt ?? request.negative_class;
  const more = inWords({
    eta,
    scale: scale > 1 && scale,
    guidance_interval: isPartial(guidance_interval) && guidance_interval,
  });
  return [
    ...[`${steps} ${steps === 1 ? "step" : "steps"}`, SAMPLERS.get(sampler) ?? sampler, guided],
    away && `less like ${away}`,
    request.init_image && "begun from a picture",
    more,
  ]
    .filter(Boolean)
    .join(" · ");
}

export function count(batch) {
  return batch === 1 ? "1 picture" : `${batch} pictures`;
}

/** Whether guidance applies to a part of the run only. */
export function isPartial(interval) {
  return interval !== undefined && (interval[0] > 0 || interval[1] < 1);
}

export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

/** "1.3 s", "45 ms", "2 min 5 s". */
export function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** What is left, in whole seconds: more digits would only flicker. */
export function timeLeft(seconds) {
  if (seconds === null) return "";
  if (seconds < 1) return "less than a second left";
  if (seconds < 90) return `about ${Math.round(seconds)} s left`;
  return `about ${Math.round(seconds / 60)} min left`;
}
