// Asks for an API key when the server wants one, and keeps it where the person says.

import { key, onUnauthorized } from "./api.js";

/** `onKey()` is called when there is a new key to try. */
export function askWhenNeeded(element, forget, { onKey }) {
  const field = element.elements.key;
  const message = element.querySelector("#key-error");

  onUnauthorized((detail) => {
    const refused = key.value !== null;
    message.textContent = refused ? `The server refuses this key: ${detail}` : "";
    message.hidden = !refused;
    field.setAttribute("aria-invalid", refused);
    const first = element.hidden;
    element.hidden = false;
    forget.hidden = true;
    if (first || refused) field.focus();
  });
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!field.value.trim()) return field.focus();
    key.keep(field.value.trim(), { onDevice: element.elements.remember.checked });
    field.value = "";
    element.hidden = true;
    forget.hidden = false;
    onKey();
  });
  forget.hidden = key.value === null;
  forget.addEventListener("click", () => {
    key.forget();
    location.reload();
  });
}
