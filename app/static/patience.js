// Trying again, after a pause. Knows nothing of what is tried.

import { ApiError } from "./api.js";

const RETRY_S = 3;

/** What `action()` gives, however often that takes; `onFail(error)` hears why it was not had yet. */
export async function patiently(action, { onFail, signal }) {
  while (true) {
    try {
      return await action();
    } catch (error) {
      if (signal.aborted || !(error instanceof ApiError && error.temporary)) throw error;
      onFail(error);
      await sleep((error.retryAfter ?? RETRY_S) * 1000, signal);
      signal.throwIfAborted();
    }
  }
}

/** Wait so long, or until `signal` aborts. */
export function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
