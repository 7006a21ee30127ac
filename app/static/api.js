// Talks to the API: sends the key, reads JSON, turns every failure into one error with words.
// Knows nothing of the page.

const KEY = "emaki.key";
export const NO_ANSWER = "The server does not answer. Check that it runs; trying again may help.";

/** An answer that is no success. `fields` are the request's refused fields, by name. */
export class ApiError extends Error {
  constructor(status, detail, { fields = [], retryAfter = null } = {}) {
    super(detail);
    Object.assign(this, { status, fields, retryAfter });
  }

  /** Whether the results are not there (any more): unknown, or expired. */
  get gone() {
    return this.status === 404 || this.status === 410;
  }

  /** Whether the same call may succeed later: no answer, too many requests, or the server's fault. */
  get temporary() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export const key = {
  get value() {
    return sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);
  },
  /** Keep it for this tab, or on this device until it is forgotten. */
  keep(value, { onDevice }) {
    this.forget();
    (onDevice ? localStorage : sessionStorage).setItem(KEY, value);
  },
  forget() {
    sessionStorage.removeItem(KEY);
    localStorage.removeItem(KEY);
  },
};

let askForKey = () => {};

/** `action()` is called whenever the server wants a key, or another one. */
export function onUnauthorized(action) {
  askForKey = action;
}

/** A successful response, or an ApiError. */
export async function open(path, { headers = {}, ...options } = {}) {
  const sent = key.value === null ? headers : { ...headers, Authorization: `Bearer ${key.value}` };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: sent });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, NO_ANSWER);
  }
  if (answer.ok) return answer;
  const error = await problem(answer);
  if (error.status === 401) askForKey();
  throw error;
}

export async function json(path, options) {
  const answer = await open(path, options);
  return parse(await answer.text());
}

export async function blob(path, options) {
  return (await open(path, options)).blob();
}

export function post(path, body) {
  return json(path, { method: "POST", headers: { "content-type": "application/json" }, body });
}

/** Delete something; that it is not there any more is as good. */
export async function erase(path) {
  try {
    await open(path, { method: "DELETE" });
  } catch (error) {
    if (!(error instanceof ApiError && error.gone)) throw error;
  }
}

/** JSON with every seed as a string: seeds reach 2^63, beyond JavaScript's exact numbers. */
export function parse(text) {
  return JSON.parse(text.replace(/"((?:variation_)?seed)":\s*(\d+)/g, '"$1":"$2"'));
}

async function problem(answer) {
  const retryAfter = Number(answer.headers.get("retry-after")) || null;
  let body = {};
  try {
    body = JSON.parse(await answer.text());
  } catch {
    // A proxy's error page: its status has to do.
  }
  let detail = body.detail ?? `The server answered ${answer.status} ${answer.statusText}.`;
  if (answer.status === 429 && retryAfter) detail += ` You can try again in ${retryAfter} s.`;
  return new ApiError(answer.status, detail, { fields: body.errors ?? [], retryAfter });
}
