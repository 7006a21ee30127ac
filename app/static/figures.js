// A card's measured figures as headed tables, whatever was measured: what is nested goes below.

import { SAMPLERS } from "./request.js";
import { headings, row } from "./tables.js";

const MOST_ROWS = 12; // of a table that is open at first
const SIDES = ["drawn", "real"]; // most figures stand beside what real pictures reach

/** Elements that show all of it; `level` is of the headings. */
export function figures(measured, level = 4) {
  return Object.entries(measured).flatMap(([name, value]) => {
    if (!isNested(value)) return [];
    const heading = document.createElement(`h${Math.min(level, 6)}`);
    heading.textContent = inWords(name);
    return [heading, ...tables(value, level + 1)];
  });
}

function tables(measured, level) {
  const entries = Object.entries(measured).filter(([, value]) => value !== null);
  const plain = entries.filter(([, value]) => !isNested(value));
  const pairs = entries.filter(([, value]) => isPair(value));
  const rest = entries.filter(([, value]) => isNested(value) && !isPair(value));
  const found = [];
  if (plain.length) found.push(table(plain.map(([name, value]) => row(inWords(name), [shown(value)]))));
  if (pairs.length) {
    const rows = pairs.map(([name, value]) => row(inWords(name), SIDES.map((side) => shown(value[side]))));
    found.push(table(rows, SIDES));
  }
  return [...found, ...figures(Object.fromEntries(rest), level)];
}

function table(rows, columns = null) {
  const element = document.createElement("table");
  if (columns) element.append(headings(columns));
  element.createTBody().append(...rows);
  if (rows.length <= MOST_ROWS) return element;
  const [folded, summary] = ["details", "summary"].map((tag) => document.createElement(tag));
  summary.textContent = `All ${rows.length}`;
  folded.append(summary, element);
  return folded;
}

function isNested(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isPair(value) {
  return isNested(value) && SIDES.every((side) => typeof value[side] === "number") && Object.keys(value).length === 2;
}

function inWords(name) {
  const words = name.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

function shown(value) {
  if (Array.isArray(value)) return value.map(shown).join(", ");
  if (typeof value !== "number") return SAMPLERS.get(value) ?? String(value);
  return Number.isInteger(value) ? value.toLocaleString() : String(Number(value.toPrecision(4)));
}
