// Asks for an API key when the server wants one, and keeps it where the person says.

import { key, onUnauthorized } from "./api.js";

const UNKNOWN =
  "This server does not know that key. Look whether all of it is there, or ask whoever runs it for another.";
const UNSENDABLE = "No key has characters like that; copy it once more.";

/** `onKey()` is called when there is a new key to try, `onForget()` when the last one is forgotten. */
export function askWhenNeeded(element, forget, { onKey, onForget }) {
  const field = element.elements.key;
  const message = element.querySelector("#key-error");

  function say(words) {
    message.textContent = words;
    message.hidden = !words;
    if (words) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }

  onUnauthorized(() => {
    const refused = key.value !== null;
    say(refused ? UNKNOWN : "");
    const first = element.hidden;
    element.hidden = false;
    forget.hidden = true;
    if (first) field.focus();
  });
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!field.value.trim()) return field.focus();
    if (!/^[\x20-\x7e\xa0-\xff]+$/.test(field.value.trim())) {
      say(UNSENDABLE); // no header can carry it
      return field.focus();
    }
    say("");
    key.keep(field.value.trim(), { onDevice: element.elements.remember.checked });
    field.value = "";
    element.hidden = true;
    forget.hidden = false;
    onKey();
  });
  forget.hidden = key.value === null;
  forget.addEventListener("click", () => {
    key.forget();
    onForget();
    location.reload();
  });
}
