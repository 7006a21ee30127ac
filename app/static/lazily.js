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
