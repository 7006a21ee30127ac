// What is wrong with a form, in words beside the fields that are to blame.

export class Marks {
  /** `alert` gets what no field is to blame for. */
  constructor(form, alert) {
    Object.assign(this, { form, alert });
    form.addEventListener("input", (event) => this.clear(event.target.name));
  }

  say(text) {
    this.alert.textContent = text;
    this.alert.hidden = !text;
  }

  /** Mark every field of `errors`, and go to the first as they stand in the form. */
  mark(errors) {
    for (const { field, detail } of errors) {
      const message = this.#message(field);
      message.textContent = detail;
      message.hidden = false;
      this.form.elements[field].setAttribute("aria-invalid", "true");
    }
    if (errors.length) this.form.querySelector("[aria-invalid=true]").focus();
  }

  /** Say why the server refused. */
  show(error) {
    const shown = error.fields.filter(({ field }) => this.#message(field));
    this.mark(shown);
    if (!shown.length || shown.length < error.fields.length) this.say(error.message);
  }

  clear(name) {
    const message = name && this.#message(name);
    if (!message) return;
    message.hidden = true;
    message.textContent = "";
    this.form.elements[name].removeAttribute("aria-invalid");
  }

  clearAll() {
    this.say("");
    for (const field of this.form.elements) this.clear(field.name);
  }

  #message(name) {
    return this.form.querySelector(`#${CSS.escape(name)}-error`);
  }
}
