// How a generation stands, in words. No network, no page.

import { duration, timeLeft } from "./request.js";

/** "canceled at step 12 of 20", or before there was one. */
export function howFar({ step, steps }) {
  return step > 0 ? `canceled at step ${step} of ${steps}` : "canceled before it began";
}

/** One sentence; `unattended`: no worker is there. */
export function standing(generation, { unattended = false } = {}) {
  const { status, progress, timings, model, warnings, error } = generation;
  switch (status) {
    case "queued":
      return waiting(progress, unattended);
    case "running":
      return [`Step ${progress.step} of ${progress.steps}`, timeLeft(progress.eta_seconds)]
        .filter(Boolean)
        .join(", ");
    case "succeeded":
      return [`Drawn by ${model} in ${duration(timings.run_ms ?? 0)}`, ...warnings].join("; ");
    case "canceled":
      return capital(howFar(progress));
    default:
      return `Failed: ${error?.detail ?? "the server does not say why"}`;
  }
}

function waiting({ queue_position, eta_seconds }, unattended) {
  const place = queue_position ? `Waiting, number ${queue_position} in the queue` : "Waiting for its turn";
  if (unattended) return `${place}; no worker is there to draw right now`;
  return [place, timeLeft(eta_seconds)].filter(Boolean).join(", ");
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}
