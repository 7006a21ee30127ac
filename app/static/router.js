// Which view an address means, and going there without loading the page anew.

const VIEWS = [
  [/^\/$/, () => ({ view: "draw", id: null })],
  [/^\/g\/([^/]+)$/, (id) => ({ view: "draw", id })],
  [/^\/queue$/, () => ({ view: "queue" })],
  [/^\/models$/, () => ({ view: "models", name: null })],
  [/^\/models\/([^/]+)$/, (name) => ({ view: "models", name })],
];

/** The address of a generation. */
export function addressOf(id) {
  return `/g/${encodeURIComponent(id)}`;
}

export class Router {
  /** `onGo(place, asked)` is called with each place; `asked`: a person went there just now. */
  constructor(nav, { onGo }) {
    Object.assign(this, { nav, onGo });
    addEventListener("popstate", () => this.enter({ asked: true }));
    document.addEventListener("click", (event) => this.#follow(event));
  }

  /** Where the address bar is. */
  get place() {
    return placeOf(location.pathname) ?? { view: "draw", id: null };
  }

  /** Go to an address of this page, as a new entry of the browser's history. */
  go(path) {
    if (path !== location.pathname) history.pushState(null, "", path);
    this.enter({ asked: true });
  }

  /** Change the address of what is on show already. */
  name(path) {
    if (path !== location.pathname) history.pushState(null, "", path);
    this.#mark();
  }

  /** Show what the address says. */
  enter({ asked = false } = {}) {
    this.#mark();
    this.onGo(this.place, asked);
  }

  #mark() {
    const { view } = this.place;
    for (const link of this.nav.querySelectorAll("a")) {
      if (placeOf(link.pathname)?.view === view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  #follow(event) {
    const link = event.target.closest?.("a[href]");
    const plain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (!link || !plain || event.defaultPrevented || link.origin !== location.origin) return;
    if (link.download || link.target || !placeOf(link.pathname)) return;
    event.preventDefault();
    this.go(link.pathname);
  }
}

function placeOf(path) {
  for (const [pattern, place] of VIEWS) {
    const found = pattern.exec(path);
    if (found) return place(...found.slice(1).map(plainly));
  }
  return null;
}

function plainly(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // "%" alone: no such thing is there, and the server says so
  }
}
