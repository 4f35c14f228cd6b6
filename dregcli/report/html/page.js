"use strict";
// Sorting, the theme and copying. Without this script the page has the same content, in its original order.

function button(name, text) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = name;
  made.textContent = text;
  return made;
}

// ---- tables that sort by a column: numbers by value; unknown values are always last ----

function compared(a, b, numeric) {
  return numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
}

function keyOf(cell, numeric) {
  if (!numeric) return cell.textContent === "-" ? null : cell.textContent;
  return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
}

function sortBy(table, column) {
  const heads = table.tHead.rows[0].cells;
  const head = heads[column];
  const numeric = head.classList.contains("number");
  const falling = head.ariaSort === "ascending";
  const keyed = Array.from(table.tBodies[0].rows, (row) => [keyOf(row.cells[column], numeric), row]);
  const known = keyed.filter(([key]) => key !== null);
  const unknown = keyed.filter(([key]) => key === null);
  known.sort(([a], [b]) => (falling ? -1 : 1) * compared(a, b, numeric));
  table.tBodies[0].append(...[...known, ...unknown].map(([, row]) => row));
  for (const each of heads) each.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table")) {
  if (table.tBodies[0].rows.length < 2) continue;
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const sort = button("", head.textContent);
    sort.addEventListener("click", () => sortBy(table, column));
    head.replaceChildren(sort);
  });
}

// ---- light and dark: as in the system's settings until the reader chooses ----

const theme = button("theme", "");
const dark = () =>
  (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) ===
  "dark";
const label = () => { theme.textContent = dark() ? "Light theme" : "Dark theme"; };

// The figures for a dark page follow the chosen theme; by their media they follow only the system's settings.
function choose(isDark) {
  for (const source of document.querySelectorAll("source")) source.media = isDark ? "screen" : "not all";
}
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  label();
  choose(dark());
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  label();
  choose(dark());
});
document.querySelector("header").append(theme);
label();

// ---- commands to copy: by selection, which needs no permission; if copying fails, the text stays selected ----

const said = document.createElement("p");
said.className = "unseen";
said.setAttribute("role", "status");
document.body.append(said);

function copy(code, pressed) {
  const selection = getSelection();
  selection.selectAllChildren(code);
  const exactly = (event) => {
    event.clipboardData.setData("text/plain", code.textContent);
    event.preventDefault();
  };
  document.addEventListener("copy", exactly);
  const done = document.execCommand("copy");
  document.removeEventListener("copy", exactly);
  if (done) selection.removeAllRanges();
  pressed.textContent = done ? "Copied" : "Selected: press Ctrl+C";
  said.textContent = pressed.textContent;
  setTimeout(() => { pressed.textContent = "Copy"; }, 2000);
}

if (document.queryCommandSupported && document.queryCommandSupported("copy")) {
  for (const code of document.querySelectorAll("code.command")) {
    const pressed = button("copy", "Copy");
    pressed.setAttribute("aria-label", `Copy: ${code.textContent}`);
    pressed.addEventListener("click", () => copy(code, pressed));
    code.after(pressed);
  }
}

// ---- only boxes that scroll sideways can be reached with the keyboard ----

const boxes = new ResizeObserver((changed) => {
  for (const { target } of changed) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const box of document.querySelectorAll(".scroll, .card")) boxes.observe(box);

// ---- a printed page shows folded parts, and figures for a light page ----

let folded = [];
addEventListener("beforeprint", () => {
  choose(false);
  folded = Array.from(document.querySelectorAll("details:not([open])"));
  for (const each of folded) each.open = true;
});
addEventListener("afterprint", () => {
  choose(dark());
  for (const each of folded) each.open = false;
});
