"use strict";
// Sorting, the theme and copying. Without this the page says the same, in its own order.

function button(name, text) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = name;
  made.textContent = text;
  return made;
}

// ---- tables that sort by a column: numbers as such, and what is not known at the end, whichever way ----

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

// ---- light and dark: as the system has it until somebody says otherwise ----

const theme = button("theme", "");
const dark = () =>
  (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) ===
  "dark";
const tell = () => { theme.textContent = dark() ? "Light theme" : "Dark theme"; };
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  tell();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
document.querySelector("header").append(theme);
tell();

// ---- commands to copy: by selection, which asks no permission; where it fails the text is left selected ----

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

// ---- what scrolls sideways can be reached with the keyboard, and only that ----

const boxes = new ResizeObserver((changed) => {
  for (const { target } of changed) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const box of document.querySelectorAll(".scroll, .card")) boxes.observe(box);

// ---- paper shows what is folded ----

let folded = [];
addEventListener("beforeprint", () => {
  folded = Array.from(document.querySelectorAll("details:not([open])"));
  for (const each of folded) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of folded) each.open = false;
});
