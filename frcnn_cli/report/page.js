"use strict";
// The page is whole without this: it adds the pictures, the choice of a class, of a theme and of a score, and sorting.
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const CORRECT = 0, MISSED = 6, BATCH = 24;
const className = (label) => data.classes[label - 1];

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// ---- theme: the system's, until a button says otherwise
const root = document.documentElement, themeButton = $("theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const remembered = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
                     set: (value) => { try { localStorage.setItem("theme", value); } catch { /* not allowed: forgotten */ } } };
function isDark() { return (root.dataset.theme || (systemDark.matches ? "dark" : "light")) === "dark"; }
function showTheme() {
  themeButton.textContent = isDark() ? "Light" : "Dark";
  themeButton.setAttribute("aria-label", `Show the page ${isDark() ? "light" : "dark"}`);
  themeButton.setAttribute("aria-pressed", String(isDark()));
}
if (["light", "dark"].includes(remembered.get())) root.dataset.theme = remembered.get();
themeButton.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  remembered.set(root.dataset.theme);
  showTheme();
});
systemDark.addEventListener("change", showTheme);
showTheme();

// ---- pictures
const kindButtons = [...document.querySelectorAll(".filters button")];
const gallery = $("gallery"), more = $("more"), classChoice = $("class");
let matching = [], visible = 0;

function labelsOf(item) {
  const there = data.pictures[item.picture].there[item.target];
  return there ? [item.label, there[4]] : [item.label];
}

function sentence(item) {
  const name = className(item.label);
  if (item.kind === MISSED) return `${name} missed`;
  return `${name} ${item.score.toFixed(2)}`;
}

function rectangle([x1, y1, x2, y2], classes) {
  return drawn("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1, class: classes });
}

function framed(box, classes) { return [rectangle(box, "under"), rectangle(box, classes)]; }

function photograph(item, large) {
  const picture = data.pictures[item.picture];
  const svg = drawn("svg", { viewBox: `0 0 ${picture.w} ${picture.h}`, role: "img",
                             "aria-label": `${picture.name}: ${sentence(item)}, ${item.why}` });
  svg.append(drawn("image", { href: picture.src, width: picture.w, height: picture.h, preserveAspectRatio: "none" }));
  const kind = data.kinds[item.kind][1], target = picture.there[item.target];
  const names = [];
  const name = (box, text) => names.push([box, text]);
  if (large) {
    for (const box of picture.there) { svg.append(...framed(box, "box there faint")); name(box, className(box[4])); }
    for (const box of picture.said) {
      const class_ = box[6] === CORRECT ? "found" : data.kinds[box[6]][1];
      svg.append(...framed(box, `box faint ${class_}`));
    }
  }
  if (target && item.kind !== MISSED) svg.append(...framed(target, "box there"));
  svg.append(...framed(item.box, `box ${kind}${item.kind === MISSED ? " there" : ""}`));
  if (item.kind === MISSED) svg.lastChild.style.stroke = "var(--k)";
  if (large) {
    const size = Math.max(picture.w, picture.h) / 38;
    for (const [[x1, y1], text] of names)
      svg.append(drawn("text", { x: Math.max(x1, 2) + size / 4, y: Math.max(y1, 0) + size * 1.05, "font-size": size }, text));
    const [x1, , , y2] = item.box;
    svg.append(drawn("text", { x: Math.max(x1, 2) + size / 4, y: Math.min(y2, picture.h) - size / 3, "font-size": size }, sentence(item)));
  }
  return svg;
}

function card(item, place) {
  const picture = data.pictures[item.picture], [title, kind] = data.kinds[item.kind];
  const text = element("span", {}, element("b", {}, sentence(item)), item.why, element("small", {}, `${title} · ${picture.name}`));
  const button = element("button", { type: "button", class: `case ${kind}`, "data-place": place }, photograph(item, false), text);
  button.addEventListener("click", () => open(place));
  return button;
}

function showMore() {
  const next = matching.slice(visible, visible + BATCH);
  gallery.append(...next.map((item, offset) => card(item, visible + offset)));
  visible += next.length;
  more.hidden = visible >= matching.length;
  const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
  $("shown").textContent = matching.length ? `${visible} of ${count(matching.length, "picture")}` : "No such picture.";
}

function filter() {
  const label = Number(classChoice.value);
  const kinds = new Set(kindButtons.filter((b) => b.getAttribute("aria-pressed") === "true").map((b) => Number(b.dataset.kind)));
  matching = data.cases.filter((item) => kinds.has(item.kind) && (label === 0 || labelsOf(item).includes(label)));
  visible = 0;
  gallery.replaceChildren();
  showMore();
  document.body.classList.toggle("one", label !== 0);
  for (const part of document.querySelectorAll("[data-class]"))
    part.classList.toggle("chosen", label !== 0 && Number(part.dataset.class) === label);
  const curve = document.querySelector(".curve.chosen title");
  $("curve-name").textContent = curve ? curve.textContent : "";
}

function press(wanted) {
  for (const button of kindButtons) button.setAttribute("aria-pressed", String(wanted(Number(button.dataset.kind))));
}

for (const button of kindButtons)
  button.addEventListener("click", () => {
    const pressed = kindButtons.filter((b) => b.getAttribute("aria-pressed") === "true");
    const own = Number(button.dataset.kind);
    // The first click leaves that kind alone, later ones add and remove; the last one removed brings all back.
    if (pressed.length === kindButtons.length) press((kind) => kind === own);
    else {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      if (!kindButtons.some((b) => b.getAttribute("aria-pressed") === "true")) press(() => true);
    }
    filter();
  });
classChoice.addEventListener("change", filter);
more.addEventListener("click", () => {
  const first = visible;
  showMore();
  gallery.children[first]?.focus();
});
for (const link of document.querySelectorAll("a[data-kind]"))
  link.addEventListener("click", () => {
    classChoice.value = link.dataset.class;
    press((kind) => kind === Number(link.dataset.kind));
    filter();
  });
for (const curve of document.querySelectorAll(".curve"))
  curve.addEventListener("click", () => { classChoice.value = curve.dataset.class; filter(); });

// ---- one picture
const dialog = $("dialog");
let opened = 0;
function open(place) {
  if (place < 0 || place >= matching.length) return;
  opened = place;
  const item = matching[place], picture = data.pictures[item.picture];
  $("large").replaceChildren(photograph(item, true));
  const names = (rows, text) => rows.length ? rows.map(text).join(", ") : "nothing";
  $("about").replaceChildren(
    element("p", {}, element("b", {}, `${sentence(item)}: `), item.why),
    element("p", {}, `There: ${names(picture.there, (row) => className(row[4]) + (row[5] ? " (difficult)" : ""))}`),
    element("p", {}, `Said: ${names(picture.said, (row) => `${className(row[4])} ${row[5].toFixed(2)}`)}`),
    element("p", {}, element("small", {}, `${picture.name} · ${place + 1} of ${matching.length}`)));
  $("previous").disabled = place === 0;
  $("next").disabled = place === matching.length - 1;
  if (!dialog.open) dialog.showModal();
}
$("previous").addEventListener("click", () => open(opened - 1));
$("next").addEventListener("click", () => open(opened + 1));
$("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") open(opened - 1);
  if (event.key === "ArrowRight") open(opened + 1);
});
dialog.addEventListener("close", () => gallery.querySelector(`[data-place="${opened}"]`)?.focus());

// ---- confusion at another score
$("level").addEventListener("change", (event) => {
  const matrix = data.confusion[Number(event.target.value)];
  document.querySelectorAll("#confusion-table tbody tr").forEach((row, r) => {
    const sum = matrix[r].reduce((a, b) => a + b, 0);
    [...row.cells].slice(1).forEach((cell, c) => {
      const number = matrix[r][c], empty = !number || (r === 0 && c === 0);
      cell.textContent = empty ? "" : number;
      cell.removeAttribute("title");
      cell.className = empty ? "" : `heat ${r === c ? "found" : r === 0 ? "background" : c === 0 ? "missed" : "classification"}`;
      cell.style.setProperty("--v", empty ? 0 : (number / sum).toFixed(2));
    });
  });
});

// ---- sorting
for (const table of document.querySelectorAll(".sortable"))
  table.querySelectorAll("thead button").forEach((button) =>
    button.addEventListener("click", () => {
      const head = button.parentElement, column = head.cellIndex;
      const falling = head.getAttribute("aria-sort") !== "descending";
      for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.sort;
      const compare = (a, b) => column === 0 ? key(a).localeCompare(key(b)) : Number(key(a)) - Number(key(b));
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort((a, b) => (falling ? -1 : 1) * compare(a, b)));
    }));

// ---- where the reader is
const links = new Map([...document.querySelectorAll(".links a")].map((link) => [link.hash.slice(1), link]));
const observer = new IntersectionObserver((entries) => {
  for (const entry of entries)
    if (entry.isIntersecting) {
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
}, { rootMargin: "-30% 0px -65% 0px" });
for (const id of links.keys()) observer.observe($(id));

filter();
