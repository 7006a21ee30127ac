// What the form held when it was last changed: kept in this browser, so that a reload gives it back.
// A picture to begin from is kept by this tab alone: it may be somebody's.

const KEPT = "emaki.form";
const PICTURE = "emaki.picture";
const NAMES = [
  ...["model", "class", "negative_class", "prompt", "negative_prompt", "seed", "sampler"],
  ...["batch", "steps", "guidance_scale"],
];

/** Keep the fields' values and what is asked for beside them. */
export function keep(fields, beyond) {
  const values = Object.fromEntries(NAMES.map((name) => [name, held(fields[name])]));
  try {
    localStorage.setItem(KEPT, JSON.stringify({ values, beyond }));
  } catch {
    // No room, or storage is forbidden: then a reload begins anew.
  }
}

/** What was kept: `{values, beyond}`, or null. */
export function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(KEPT));
    if (typeof found?.values?.model !== "string") return null;
    return { values: found.values, beyond: typeof found.beyond === "object" ? { ...found.beyond } : {} };
  } catch {
    return null;
  }
}

/** Keep a picture to begin from, as `Beginning` tells of it; null: there is none. */
export function keepPicture(keepsake) {
  try {
    if (keepsake) sessionStorage.setItem(PICTURE, JSON.stringify(keepsake));
    else sessionStorage.removeItem(PICTURE);
  } catch {
    // As above.
  }
}

/** The picture that was kept, or null. */
export function keptPicture() {
  try {
    const found = JSON.parse(sessionStorage.getItem(PICTURE));
    return typeof found?.source === "string" ? found : null;
  } catch {
    return null;
  }
}

/** Keep nothing of it. */
export function forget() {
  localStorage.removeItem(KEPT);
  sessionStorage.removeItem(PICTURE);
}

/** Give the fields their values back, as far as they still offer them. */
export function restore(fields, values) {
  for (const name of NAMES) {
    const field = fields[name];
    if (name === "model" || typeof values[name] !== "string") continue;
    if (field.tagName !== "SELECT") field.value = values[name];
    else {
      const there = [...field.options].find((option) => option.text === values[name]);
      if (there) field.value = there.value;
    }
  }
}

/** Of a choice, its words: what they stand for may be another number tomorrow. */
function held(field) {
  return field.tagName === "SELECT" ? (field.selectedOptions[0]?.text ?? "") : field.value;
}
