// Asks for pictures and polls until they are there. No build step, no dependency.

const form = document.querySelector("#ask");
const button = form.querySelector("button");
const statusLine = document.querySelector("#status");
const bar = document.querySelector("#bar");
const pictures = document.querySelector("#pictures");
const POLL_MS = 150;
let models = [];

// Seeds reach 2^63, beyond JavaScript's exact numbers: keep the long ones as text.
const parse = (json) => JSON.parse(json.replace(/"seed":(\d{16,})/g, '"seed":"$1"'));

async function call(path, options) {
  const answer = await fetch(path, options);
  const body = parse(await answer.text());
  if (!answer.ok) throw new Error(body.detail ?? answer.statusText);
  return body;
}

async function loadModels() {
  models = (await call("/v1/models")).data;
  if (!models.length) {
    show("No model yet: a worker is still loading, or none runs.");
    return setTimeout(start, 2000);
  }
  form.model.replaceChildren(...models.map((m) => new Option(m.id, m.id)));
  chooseModel();
}

function chooseModel() {
  const model = models.find((m) => m.id === form.model.value);
  const any = model.null_class ? [new Option("any", "")] : [];
  form.class.replaceChildren(...any, ...model.classes.map((name) => new Option(name, name)));
  form.class.selectedIndex = Math.min(1, form.class.options.length - 1);
  form.steps.max = model.timesteps;
  form.steps.value = model.defaults.steps;
}

function show(text, { error = false, fraction = 0 } = {}) {
  document.querySelector("#result").hidden = false;
  statusLine.textContent = text;
  statusLine.classList.toggle("error", error);
  bar.value = fraction;
}

function showGeneration(g) {
  const p = g.progress;
  const eta = p.eta_seconds === null ? "" : `, about ${p.eta_seconds.toFixed(1)} s left`;
  const text = {
    queued: `Waiting, number ${p.queue_position ?? 1} in the queue`,
    running: `Step ${p.step} of ${p.steps}${eta}`,
    succeeded: `${g.request.batch} drawn by ${g.model} in ${(g.timings.run_ms / 1000).toFixed(2)} s`,
    canceled: "Canceled",
    failed: g.error?.detail,
  }[g.status];
  show(text, { error: g.status === "failed", fraction: p.fraction });
  for (const image of g.images.slice(pictures.children.length)) pictures.append(figure(image));
}

function figure(image) {
  const element = document.createElement("figure");
  const picture = new Image();
  picture.src = image.url;
  picture.alt = `${image.class ?? "picture"}, seed ${image.seed}`;
  const caption = document.createElement("figcaption");
  caption.textContent = picture.alt;
  element.append(picture, caption);
  return element;
}

async function draw() {
  const asked = { model: form.model.value, batch: Number(form.batch.value), scale: 4 };
  asked.steps = Number(form.steps.value);
  asked.class = form.class.value || null;
  const headers = { "content-type": "application/json" };
  let body = JSON.stringify(asked);
  // A seed may be larger than JavaScript's exact numbers: it goes in as it was typed.
  if (form.seed.value) body = `${body.slice(0, -1)},"seed":${form.seed.value}}`;
  pictures.replaceChildren();
  let generation = await call("/v1/generations", { method: "POST", headers, body });
  while (true) {
    showGeneration(generation);
    if (generation.finished_at) return;
    await new Promise((done) => setTimeout(done, POLL_MS));
    generation = await call(generation.urls.self);
  }
}

async function guarded(action) {
  button.disabled = true;
  try {
    await action();
  } catch (error) {
    show(error.message, { error: true });
  } finally {
    button.disabled = false;
  }
}

const start = () => guarded(loadModels);
form.model.addEventListener("change", chooseModel);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(draw);
});
start();
