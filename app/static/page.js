// Puts the page together: the form and the history; all else comes when there is something to show.

import { ApiError, json, post } from "./api.js";
import { takeFiles } from "./drop.js";
import { Form } from "./form.js";
import { History } from "./history.js";
import { askWhenNeeded } from "./keyring.js";
import { lazily, styles } from "./lazily.js";
import { body } from "./request.js";
import { Router, addressOf } from "./router.js";

const MODELS_RETRY_MS = 2000;
const find = (selector) => document.querySelector(selector);
let retry = null;
let view = null; // the one on show, where it is not the drawing
let onShow = null; // the stage, once something was shown

const form = new Form(find("#ask"), { onAsk: ask });
const stage = lazily(
  () => import("./stage.js"),
  ({ Stage }) => {
    onShow = new Stage(find("#stage"), {
      onUpdate: (generation) => gallery.update(generation),
      onGone: (id) => gallery.forget(id),
      onPicture: (generation, index, strip) => use(picture, (it) => it.open(generation, index, strip)),
      onAgain: (request) => form.fill(request),
      cardOf: (model) => form.card(model),
    });
    return onShow;
  },
);
const picture = lazily(
  () => import("./picture.js"),
  ({ PictureDialog }) =>
    new PictureDialog(find("#picture"), {
      onAgain: (request) => form.fill(request),
      onFrom: (url) => form.beginFrom(url),
      onVariations: (request, name) => use(explore, (it) => it.variations(request, name)),
      onBetween: (request, name) => use(explore, (it) => it.between(request, name)),
      onCompare: (one, other) => use(compare, (it) => it.show(one, other)),
    }),
);
const explore = styled(
  () => import("./explore.js"),
  ({ Explore }) => new Explore(find("#explore"), { onOpen: open }),
);
const compare = styled(() => import("./compare.js"), ({ Compare }) => new Compare(find("#compare")));
const views = {
  queue: styled(() => import("./queue.js"), ({ Queue }) => new Queue(find("#queue"))),
  models: styled(
    () => import("./models.js"),
    ({ Models }) => new Models(find("#models"), { onChoose: drawWith }),
  ),
};

const router = new Router(find("nav"), { onGo: go });
const gallery = new History(find("#gallery"), {
  onGone: (id) => onShow?.deleted(id),
  onCompare: (...both) =>
    use(compare, (it) => it.show(...both.map((generation) => ({ generation, index: generation.images[0].index })))),
});

/** A part that has styles of its own. */
function styled(load, make) {
  return lazily(() => Promise.all([load(), styles()]), ([loaded]) => make(loaded));
}

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

/** Show a generation that is known, under its own address. */
function open(generation) {
  router.name(addressOf(generation.id));
  gallery.update(generation);
  gallery.mark(generation.id);
  use(stage, (it) => it.show(generation));
  find("#stage .scroll").scrollIntoView({ block: "nearest" });
}

function drawWith(model) {
  router.go("/");
  form.choose(model);
  find("#model").focus();
}

/** Do something with a part of the page that may have to be fetched first. */
async function use(part, action) {
  try {
    await action(await part());
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    form.say(error.message);
  }
}

/** Show the place that the address names; `asked`: a person went there, so the focus goes along. */
async function go(place, asked) {
  view?.leave();
  view = null;
  for (const name of ["draw", "queue", "models"]) find(`#${name}`).hidden = name !== place.view;
  if (place.view === "draw") show(place.id);
  else {
    await use(views[place.view], (part) => {
      if (router.place.view !== place.view) return; // it took so long that the person went on
      view = part;
      part.enter(place);
    });
  }
  if (!asked) return;
  scrollTo(0, 0);
  find(`#${place.view} h2[tabindex]`).focus({ preventScroll: true });
}

function show(id) {
  gallery.mark(id);
  if (id === null) onShow?.clear();
  else use(stage, (it) => id === router.place.id && id !== it.generation?.id && it.find(id));
}

/** Show what the address names, and what was drawn before. */
function begin() {
  router.enter();
  gallery.restart();
  learn();
}

/** Learn which models there are, and again while there are none. */
async function learn() {
  clearTimeout(retry);
  try {
    const { data } = await json("/v1/models");
    form.offer(data);
    gallery.filter.offer(data);
    form.say(data.length ? "" : "No model yet: a worker is still loading one, or none runs.");
    if (!data.length) retry = setTimeout(learn, MODELS_RETRY_MS);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) return; // the key form asks, and then all begins anew
    form.say(error.message);
    if (error.temporary) retry = setTimeout(learn, (error.retryAfter ?? 2) * 1000);
  }
}

takeFiles((file) => form.take(file));
askWhenNeeded(find("#key"), find("#forget-key"), {
  onKey: begin,
  onForget: () => form.forget(),
});
begin();
