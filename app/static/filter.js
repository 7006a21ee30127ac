// What the history is narrowed to: the filter's fields as the query of a list.

export class Filter {
  /** `onChange()` is called when there is something else to look for. */
  constructor(element, { onChange }) {
    this.element = element;
    this.form = element.querySelector("form");
    this.message = element.querySelector(".error");
    this.form.addEventListener("change", () => onChange());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("reset", () => setTimeout(onChange)); // once the fields are empty
  }

  /** Offer the models and classes that there are; others may be typed, too. */
  offer(cards) {
    const { model, class: class_ } = this.form.elements;
    fill(model.list, cards.map((card) => card.id));
    fill(class_.list, [...new Set(cards.flatMap((card) => card.classes))]);
  }

  get active() {
    return [...this.query()].length > 0;
  }

  /** The query of a list; what was left empty is not asked about. */
  query() {
    const { status, model, class: class_, seed, from, to } = this.form.elements;
    const asked = {
      status: status.value,
      model: model.value.trim(),
      class: class_.value.trim(),
      seed: seed.value.trim(),
      created_after: moment(from.value),
      created_before: moment(to.value, 1), // the day itself, too
    };
    return new URLSearchParams(Object.entries(asked).filter(([, value]) => value));
  }

  /** Say what is wrong with it, all of it at once; nothing takes the words away. */
  say(errors) {
    const names = { created_after: "from", created_before: "to" };
    const fields = errors.map(({ field }) => this.form.elements[names[field] ?? field]);
    for (const field of this.form.elements) {
      if (fields.includes(field)) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
    }
    this.message.textContent = errors.map(({ detail }) => detail).join("; ");
    this.message.hidden = errors.length === 0;
  }

  /** What need not be sent. */
  faults() {
    const { seed, from, to } = this.form.elements;
    const wrong = [];
    if (!/^\d*$/.test(seed.value.trim())) {
      wrong.push({ field: "seed", detail: "a seed is a whole number; type digits" });
    }
    if (from.value && to.value && to.value < from.value) {
      wrong.push({ field: "to", detail: "the last day is before the first; choose a later one" });
    }
    return wrong;
  }
}

function fill(list, values) {
  list.replaceChildren(...values.map((value) => new Option(value, value)));
}

/** The beginning of a day here, or of one some days later, in the world's time. */
function moment(day, later = 0) {
  if (!day) return "";
  const begins = new Date(`${day}T00:00`);
  begins.setDate(begins.getDate() + later); // a day may have 23 hours, or 25
  return begins.toISOString();
}
