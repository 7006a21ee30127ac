// What stands below the form's fields: what a request asks for beyond them, and what else may be done.

import { inWords } from "./request.js";

/** Settings that the form has no fields for: asked for again until they are left out. */
export class Beyond {
  /** `onChange()` is called when there are others. */
  constructor(element, { onChange }) {
    Object.assign(this, { element, onChange: () => {} });
    element.querySelector("button").addEventListener("click", () => this.keep({}));
    this.keep({});
    this.onChange = onChange;
  }

  /** Ask for these no more. */
  leave(...names) {
    this.keep(Object.fromEntries(Object.entries(this.settings).filter(([name]) => !names.includes(name))));
  }

  keep(settings) {
    this.settings = settings;
    this.onChange();
    const words = inWords(settings);
    this.element.hidden = !words;
    this.element.querySelector("span").textContent = `Also: ${words}`;
  }
}

/** A remark with a button for doing something else instead. */
export class Notice {
  constructor(element) {
    this.element = element;
    element.querySelector("button").addEventListener("click", () => this.instead());
    this.say("");
  }

  say(text, instead = () => {}) {
    this.instead = instead;
    this.element.hidden = !text;
    this.element.querySelector("span").textContent = text;
  }
}
