// Names and values as HTML: terms of a list, rows of a table.

/** A term and what it is, for a `dl`. */
export function pair(name, value) {
  const [group, term, data] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
  term.textContent = name;
  data.textContent = value;
  group.append(term, data);
  return group;
}

/** A row with a heading of its own. */
export function row(name, values) {
  const line = document.createElement("tr");
  const heading = document.createElement("th");
  heading.scope = "row";
  heading.textContent = name;
  line.append(heading);
  for (const value of values) line.insertCell().append(value);
  return line;
}

/** A table's head; `names` are its columns, after that of the rows' headings. */
export function headings(names) {
  const line = document.createElement("tr");
  line.append(document.createElement("td"));
  for (const name of names) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.append(name);
    line.append(cell);
  }
  const head = document.createElement("thead");
  head.append(line);
  return head;
}
