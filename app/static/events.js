// Server-sent events over fetch: EventSource cannot send an API key.
// Follows a generation to its end through broken connections, with nothing lost or repeated.

import { ApiError, open, parse } from "./api.js";
import { sleep } from "./patience.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const SILENCE_MS = 45_000; // the server sends a comment every 15 s, so this connection is dead

/**
 * Call `onEvent(name, data)` for every event until `done`, or until `signal` aborts.
 * `onBreak()` says that the connection broke; it is tried again after a pause.
 * Throws an ApiError when trying again is of no use.
 */
export async function follow(path, { onEvent, onBreak, signal }) {
  let lastId = null;
  let failures = 0;
  while (!signal.aborted) {
    let pause = FIRST_PAUSE_MS;
    try {
      const headers = lastId === null ? {} : { "Last-Event-ID": lastId };
      for await (const event of connect(path, headers, signal)) {
        failures = 0;
        lastId = event.id;
        onEvent(event.name, parse(event.data));
        if (event.name === "done") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError && error.temporary)) throw error;
      pause = (error.retryAfter ?? 0) * 1000;
    }
    const backoff = FIRST_PAUSE_MS * 2 ** failures * (0.75 + Math.random() / 2);
    pause = Math.max(pause, Math.min(backoff, LONGEST_PAUSE_MS));
    failures += 1;
    onBreak();
    await sleep(pause, signal);
  }
}

async function* connect(path, headers, signal) {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  const either = new AbortController();
  const abort = () => either.abort();
  for (const cause of [signal, silence.signal]) cause.addEventListener("abort", abort);
  try {
    const answer = await open(path, { headers, signal: either.signal, cache: "no-store" });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let fields = { data: [] };
    while (true) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      // A carriage return at the very end may be half of a line's end.
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line !== "") addField(fields, line);
        else if (fields.data.length) {
          yield { id: fields.id, name: fields.event ?? "message", data: fields.data.join("\n") };
          fields = { data: [], id: fields.id };
        }
      }
    }
  } catch (error) {
    if (error instanceof ApiError || signal.aborted) throw error;
    throw new ApiError(0, "The connection broke.");
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
    either.abort();
  }
}

function addField(fields, line) {
  const colon = line.indexOf(":");
  if (colon === 0) return; // a comment
  const name = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
  if (name === "data") fields.data.push(value);
  else fields[name] = value;
}
