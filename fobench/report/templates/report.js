"use strict";
// Tables sort by a click on a header: up, down, then as they were. Without this script they stand.

const MISSING = "\u2013";

function keyOf(row, column) {
  const text = row.cells[column].textContent.trim();
  const found = /^[+-]?(\d[\d,]*)?\.?\d+/.exec(text);
  return { text, number: found ? Number(found[0].replaceAll(",", "")) : NaN };
}

// Numbers before texts; what is missing comes last either way.
function compare(one, other, direction) {
  const missing = (one.text === MISSING) - (other.text === MISSING);
  const texts = Number.isNaN(one.number) - Number.isNaN(other.number);
  if (missing || texts) return missing || direction * texts;
  const numbers = one.number - other.number;
  const order = numbers || one.text.localeCompare(other.text, "en", { numeric: true });
  return direction * order;
}

function sort(table, header, original) {
  const next = { none: "ascending", ascending: "descending", descending: "none" };
  const to = next[header.getAttribute("aria-sort")];
  for (const each of table.tHead.rows[0].cells) each.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", to);
  const direction = to === "descending" ? -1 : 1;
  const column = header.cellIndex;
  const keys = new Map(original.map((row) => [row, keyOf(row, column)]));
  const rows = to === "none" ? original : [...original].sort(
    (one, other) => compare(keys.get(one), keys.get(other), direction),
  );
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const original = [...table.tBodies[0].rows];
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(table, header, original));
    header.append(button);
    header.setAttribute("aria-sort", "none");
  }
}

// What is folded is printed, too.
const opened = [];
addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details:not([open])")) {
    each.open = true;
    opened.push(each);
  }
});
addEventListener("afterprint", () => {
  for (const each of opened.splice(0)) each.open = false;
});
