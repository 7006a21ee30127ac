// Parts of the page that are fetched when they are first needed.

import { ApiError, NO_ANSWER } from "./api.js";

/**
 * A function that gives what `make` makes of what `load` fetches, once; after a failure it is tried
 * again. Throws an ApiError where the server gives no file.
 */
export function lazily(load, make = (loaded) => loaded) {
  let made = null;
  return async () => {
    made ??= fetched(load).then(make);
    try {
      return await made;
    } catch (error) {
      made = null;
      throw error;
    }
  };
}

async function fetched(load) {
  try {
    return await load();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // what `import` throws of a file that is not had
    throw new ApiError(0, NO_ANSWER);
  }
}

/** The styles of such parts, once they hold. */
export const styles = lazily(
  () =>
    new Promise((resolve, reject) => {
      const link = document.createElement("link");
      link.rel = "stylesheet";
      link.href = "/static/views.css";
      link.addEventListener("load", resolve);
      link.addEventListener("error", () => {
        link.remove();
        reject(new TypeError("views.css"));
      });
      document.head.append(link);
    }),
);
