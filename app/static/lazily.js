// Parts of the page that are fetched when they are first needed.

import { ApiError, NO_ANSWER } from "./api.js";

/** A function that gives what `make` gives, made once; after a failure it is tried again. */
export function lazily(make) {
  let made = null;
  return async () => {
    made ??= make();
    try {
      return await made;
    } catch (error) {
      made = null;
      if (!(error instanceof TypeError)) throw error; // what `import` throws of a file that is not had
      throw new ApiError(0, NO_ANSWER);
    }
  };
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
