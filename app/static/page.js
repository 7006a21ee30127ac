// Puts the page together: form, stage, gallery, picture dialog, API key. No build step.

import { ApiError, json, post } from "./api.js";
import { takeFiles } from "./drop.js";
import { Explore } from "./explore.js";
import { Form } from "./form.js";
import { Gallery } from "./gallery.js";
import { askWhenNeeded } from "./keyring.js";
import { PictureDialog } from "./picture.js";
import { body } from "./request.js";
import { Stage } from "./stage.js";

const MODELS_RETRY_MS = 2000;
const find = (selector) => document.querySelector(selector);
let retry = null;

const form = new Form(find("#ask"), { onAsk: ask });
const dialog = new PictureDialog(find("#picture"), {
  onAgain: (request) => form.fill(request),
  onFrom: (url) => form.beginFrom(url),
  onVariations: (request, name) => explore.variations(request, name),
  onBetween: (request, name) => explore.between(request, name),
});
const explore = new Explore(find("#explore"), { onOpen: open });
const gallery = new Gallery(find("#gallery"), { onOpen: open });
const stage = new Stage(find("#stage"), {
  onUpdate: (generation) => gallery.update(generation),
  onGone: (id) => gallery.forget(id),
  onPicture: (generation, index, strip) => dialog.open(generation, index, strip),
  onAgain: (request) => form.fill(request),
  cardOf: (model) => form.card(model),
});

async function ask(request) {
  form.busy = true;
  try {
    open(await post("/v1/generations", body(request)));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    form.showError(error);
  } finally {
    form.busy = false;
  }
}

function open(generation) {
  gallery.update(generation);
  gallery.mark(generation.id);
  stage.show(generation);
  find("#stage .scroll").scrollIntoView({ block: "nearest" });
}

/** Learn which models there are, and again while there are none; then show what was drawn last. */
async function start() {
  clearTimeout(retry);
  try {
    const { data } = await json("/v1/models");
    form.offer(data);
    form.say(data.length ? "" : "No model yet: a worker is still loading one, or none runs.");
    if (!data.length) retry = setTimeout(start, MODELS_RETRY_MS);
    gallery.restore();
    if (!gallery.current) await showNewest();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) return; // the key form asks, and starts again
    form.say(error.message);
    if (error.temporary) retry = setTimeout(start, (error.retryAfter ?? 2) * 1000);
  }
}

async function showNewest() {
  const id = gallery.newest;
  if (!id) return;
  try {
    const newest = await json(`/v1/generations/${id}`);
    gallery.update(newest);
    gallery.mark(id);
    stage.show(newest);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (!error.gone) return;
    gallery.forget(id);
    await showNewest();
  }
}

takeFiles((file) => form.take(file));
askWhenNeeded(find("#key"), find("#forget-key"), {
  onKey: () => {
    gallery.mark(null); // what was on show may have been refused: show it anew
    start();
  },
});
start();
