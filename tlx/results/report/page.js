"use strict";
// Everything that comes from records goes through textContent, attributes or vega's data: never through markup.
const data = JSON.parse(document.getElementById("data").textContent);
const PANELS_AT_ONCE = 6;

// ---- light and dark: the system's choice, until the button says otherwise
const root = document.documentElement;
const dark = () => getComputedStyle(root).colorScheme === "dark" ||
  (getComputedStyle(root).colorScheme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
try { root.style.colorScheme = localStorage.getItem("tlx-theme") ?? ""; } catch { /* a page from a file may have no storage */ }
document.getElementById("theme").addEventListener("click", () => {
  root.style.colorScheme = dark() ? "light" : "dark";
  try { localStorage.setItem("tlx-theme", root.style.colorScheme); } catch { /* then it lasts as long as the page */ }
});

// ---- tables: sort by a column, filter by words
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map(row => [row.cells[column], row]);
    const order = new Intl.Collator("en", { numeric: true }).compare;
    rows.sort(([a], [b]) => down * (a.dataset.order !== undefined ? a.dataset.order - b.dataset.order
      : order(a.textContent, b.textContent)));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }));
}
for (const input of document.querySelectorAll("[data-filter]")) {
  const rows = [...document.getElementById(input.dataset.filter).tBodies[0].rows];
  const texts = rows.map(row => [...row.cells].map(cell => cell.textContent).join(" ").toLowerCase());
  const count = document.querySelector(`[data-count="${input.dataset.filter}"]`);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    rows.forEach((row, i) => { row.hidden = !words.every(word => texts[i].includes(word)); });
    count.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} rows`;
  });
}

// ---- details of a row or a run
const dialog = document.getElementById("details");
const body = document.getElementById("details-body");
function add(tag, text, className = "", parent = body) {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  parent.append(element);
  return element;
}
function addCommand(line, problem) {
  add("h3", "The command");
  add("pre", line, "command");
  if (problem) add("p", `It may not suffice: ${problem}.`, "muted");
}
function written(value) { return typeof value === "string" ? value : JSON.stringify(value); }
function addSettings(run) {
  add("h3", "The config");
  add("p", "Bold: other than in most runs here.", "muted");
  const lacking = new Set(run.lack);
  const names = [...new Set([...Object.keys(data.common), ...Object.keys(run.set)])].filter(name => !lacking.has(name));
  const list = add("div", "", "settings");
  for (const name of names.sort()) {
    const own = name in run.set;
    add("div", `${name}: ${written(own ? run.set[name] : data.common[name])}`, own ? "own" : "", list);
  }
}
function open(title) {
  document.getElementById("details-title").textContent = title;
  dialog.showModal();
  dialog.scrollTop = 0;
}
function showRun(run) {
  const cell = data.cells[run.cell];
  body.replaceChildren();
  add("p", `${run.status}, in ${run.folder}`, "muted");
  if (run.error) { add("h3", "The error"); add("pre", run.error); }
  if (cell) addCommand(cell.one.replace("SEED", () => written(run.seed)), cell.problem);
  const metrics = Object.entries(run.metrics);
  if (metrics.length) {
    add("h3", "The metrics");
    const list = add("div", "", "settings");
    for (const [name, value] of metrics) add("div", `${name}: ${written(value)}`, "", list);
  }
  addSettings(run);
  open(`${cell ? cell.name + ", " : ""}seed ${written(run.seed)}`);
}
function showCell(id) {
  const cell = data.cells[id];
  const runs = data.runs.filter(run => run.cell === id);
  body.replaceChildren();
  if (cell.scores.length) {
    add("h3", `${data.metric} by seed`);
    const list = add("div", "", "seeds");
    for (const [seed, score] of cell.scores) add("span", `${seed}: ${score.toFixed(4)}`, "", list);
  }
  addCommand(cell.command, cell.problem);
  add("h3", "Its runs");
  const list = add("div", "", "seeds");
  for (const run of runs) {
    const button = add("button", `seed ${written(run.seed)} (${run.status})`, "", list);
    button.type = "button";
    button.addEventListener("click", () => { dialog.close(); showRun(run); });
  }
  if (runs.length) addSettings(runs[0]);
  open(cell.name);
}
document.addEventListener("click", event => {
  const button = event.target.closest?.("button");
  if (button?.dataset.run !== undefined) showRun(data.runs[button.dataset.run]);
  else if (button?.dataset.cell !== undefined) showCell(button.dataset.cell);
  else if (event.target === dialog) dialog.close();
});

// ---- charts, one after the other so that the page can be used meanwhile; colours follow the page's by currentColor
const ink = { labelColor: "currentColor", titleColor: "currentColor", labelFontSize: 11, titleFontSize: 11, titleFontWeight: 500 };
const config = {
  background: null, font: "system-ui, sans-serif", view: { stroke: null },
  axis: { ...ink, gridColor: "currentColor", gridOpacity: 0.12, domainColor: "currentColor", domainOpacity: 0.4,
    tickColor: "currentColor", tickOpacity: 0.4 },
  axisX: { labelOverlap: true, tickCount: 6 }, axisY: { tickCount: 5 },
  legend: { ...ink, gradientThickness: 10 },
};
const waiting = [];
function chart(figure, name, place) {
  const panel = add("div", "", "panel", place);
  add("h3", name, "", panel);
  const element = add("div", "", "chart", panel);
  const rows = figure.panels[name].map(values =>
    Object.fromEntries(values.map((value, i) => [figure.fields[i], value]).filter(([, value]) => value !== null)));
  const spec = { ...figure.spec, datasets: { rows }, autosize: { type: "fit-x", contains: "padding" } };
  waiting.push(() => vegaEmbed(element, spec, {
    renderer: "svg", ast: true, config,
    actions: { export: true, source: false, compiled: false, editor: false },
  }).catch(error => { element.textContent = `This chart could not be drawn: ${error.message}`; }));
}
async function draw() {
  while (waiting.length) {
    await waiting.shift()();
    await new Promise(resolve => setTimeout(resolve));
  }
  root.dataset.drawn = "yes";
}
for (const place of document.querySelectorAll("[data-figure]")) {
  const figure = data.figures[place.dataset.figure];
  const names = Object.keys(figure.panels);
  if (names.length <= PANELS_AT_ONCE) {
    place.classList.toggle("one", names.length === 1);
    for (const name of names) chart(figure, name, place);
    continue;
  }
  place.classList.add("one");
  const label = document.createElement("label");
  const choice = document.createElement("select");
  label.append(`One of ${names.length}: `, choice);
  const line = document.createElement("p");
  line.className = "choose";
  line.append(label);
  place.before(line);
  for (const name of names) choice.append(new Option(name, name));
  choice.addEventListener("change", () => { place.replaceChildren(); chart(figure, choice.value, place); draw(); });
  chart(figure, names[0], place);
}
draw();
