"use strict";

const LIMIT = 200; // rows that a table shows at first
const MORE = 1000; // rows that it shows in addition when it is asked
const FEW = 8; // rows up to which a table needs no filter
const LISTED = 50; // runs that the panel lists at a time
const collator = new Intl.Collator("en", { numeric: true });

function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

// Tables: sorted by their headers, filtered by words.

class Sheet {
  constructor(section) {
    const table = section.querySelector("table");
    this.scroll = section.querySelector(".scroll");
    this.body = table.tBodies[0];
    this.rows = this.order = [...this.body.rows];
    this.texts = new Map();
    this.headers = [...table.tHead.rows[0].cells];
    this.headers.forEach((header, column) => {
      const title = header.querySelector(".title");
      const button = element("button", { type: "button", click: () => this.sort(column) });
      title.replaceWith(button);
      button.append(title);
    });
    this.filter = element("input", { type: "search", autocomplete: "off", spellcheck: "false", input: () => this.show() });
    this.count = element("output", {});
    this.more = element("button", { type: "button", click: () => this.show(this.limit + MORE) }, "Show more");
    this.limit = LIMIT;
    const tools = element("div", { class: "tools" }, this.count, this.more);
    if (this.rows.length > FEW) tools.prepend(element("label", {}, "Filter", this.filter));
    const further = this.headers.filter((header) => header.classList.contains("further")).length;
    if (further) {
      const text = `${count(further, "column")} more`;
      const button = element("button", { type: "button", "aria-pressed": "false" }, text);
      button.addEventListener("click", () => button.setAttribute("aria-pressed", String(section.classList.toggle("wide"))));
      tools.append(button);
    }
    if (this.rows.length > FEW || further) this.scroll.before(tools);
    this.show();
    section.classList.add("ready");
  }

  // Best first, then the other way, then as it was.
  sort(column) {
    const header = this.headers[column];
    const first = header.dataset.better === "higher" ? -1 : 1;
    const before = { ascending: 1, descending: -1 }[header.ariaSort] ?? 0;
    const direction = before === first ? -first : before ? 0 : first;
    for (const other of this.headers) other.removeAttribute("aria-sort");
    if (direction) header.ariaSort = direction > 0 ? "ascending" : "descending";
    const numeric = header.classList.contains("number");
    const keyed = this.rows.map((row) => [key(row.cells[column], numeric), row]);
    const compare = numeric ? (a, b) => a - b : collator.compare;
    if (direction) {
      keyed.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return a === b ? 0 : direction * compare(a, b);
      });
    }
    this.order = keyed.map(([, row]) => row);
    this.show(LIMIT);
  }

  text(row) {
    if (!this.texts.has(row)) this.texts.set(row, Array.from(row.cells, (cell) => cell.textContent).join(" ").toLowerCase());
    return this.texts.get(row);
  }

  show(limit = this.limit) {
    this.limit = limit;
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.order.filter((row) => words.every((word) => this.text(row).includes(word)));
    const shown = document.createDocumentFragment();
    for (const row of found.slice(0, limit)) shown.append(row);
    const size = Math.min(found.length, limit);
    this.body.replaceChildren(shown);
    const all = count(this.rows.length, "row");
    const some = found.length === this.rows.length ? all : `${found.length.toLocaleString("en")} of ${all}`;
    this.count.value = size < found.length ? `${some}; the first ${size.toLocaleString("en")} are shown` : some;
    this.more.hidden = size === found.length;
    this.scroll.classList.toggle("long", size > 30);
  }
}

function key(cell, numeric) {
  if (numeric) return "number" in cell.dataset ? Number(cell.dataset.number) : null;
  const text = "missing" in cell.dataset ? "" : (cell.querySelector(".value")?.textContent.trim() ?? "");
  return text || null;
}

// Runs: unpacked block by block, when they are asked for.

const ids = Array.from(document.querySelectorAll("#runs tbody th .value"), (value) => value.textContent);
const places = new Map(ids.map((id, place) => [id, place]));
const scripts = [...document.querySelectorAll("script.block")];
const unpacked = new Map();

async function inflate(script) {
  const bytes = Uint8Array.from(atob(script.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

async function load(place) {
  const size = Number(scripts[0].dataset.size);
  const number = Math.floor(place / size);
  if (!unpacked.has(number)) unpacked.set(number, inflate(scripts[number]).then(JSON.parse));
  const { parts, runs } = await unpacked.get(number);
  const run = { ...runs[place % size], id: ids[place] };
  run.architecture = parts[run.architecture];
  return run;
}

// The panel: the runs behind a number. What it shows follows from the address alone.

const title = element("h2", { id: "panel-title" });
const content = element("div", {});
const close = element("button", { type: "button", class: "close", click: () => panel.close() }, "Close");
const panel = element(
  "dialog",
  {
    "aria-labelledby": "panel-title",
    close: () => addressed() && history.replaceState(null, "", location.pathname + location.search),
    click: (event) => event.target === panel && panel.close(),
  },
  element("div", {}, element("header", {}, title, close), content),
);
let opener = null;

function addressed() {
  const [, several, text] = /^#run(s?)=(.*)$/.exec(location.hash) ?? [];
  if (text === undefined) return null;
  if (!several) return [places.get(decoded(text))].filter((place) => place !== undefined);
  return text.split(",").flatMap((range) => {
    const [first, last = first] = range.split("-").map(Number);
    const end = Math.min(last, ids.length - 1);
    return Array.from({ length: Math.max(end - first + 1, 0) || 0 }, (_, i) => first + i);
  });
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function follow() {
  const found = addressed();
  if (found === null) {
    panel.close();
    return;
  }
  title.textContent = found.length === 1 ? ids[found[0]] : found.length ? count(found.length, "run") : "No such run";
  content.replaceChildren(...context(), ...list(found));
  if (found.length === 0) content.append("This page holds no run of that name.");
  if (!panel.open) panel.showModal();
  panel.scrollTop = 0;
}

function context() {
  const cell = opener?.hash === location.hash && opener.closest(".sheet:not(#runs) tbody > tr > *");
  if (!cell) return [];
  const row = cell.parentNode.cells[0].querySelector(".value")?.textContent ?? "";
  const header = cell.closest("table").tHead.rows[0].cells[cell.cellIndex].querySelector(".title").textContent;
  return [element("p", { class: "context" }, `${row}, ${header}: `, element("b", {}, opener.textContent))];
}

function list(found, from = 0) {
  if (found.length === 1) return [described(found[0])];
  const nodes = found.slice(from, from + LISTED).map((place, i) => entry(place, from + i === 0));
  const rest = found.length - from - LISTED;
  if (rest > 0) {
    const more = element("button", { type: "button", class: "more" }, `Show more (${rest.toLocaleString("en")})`);
    more.addEventListener("click", () => more.replaceWith(...list(found, from + LISTED)));
    nodes.push(more);
  }
  return nodes;
}

function entry(place, open) {
  const details = element("details", { class: "run" }, element("summary", {}, element("h3", {}, ids[place])));
  details.addEventListener("toggle", () => details.append(described(place)), { once: true });
  details.open = open;
  return details;
}

function described(place) {
  const node = element("div", {}, "…");
  Promise.all([load(place), started]).then(
    ([run]) => node.replaceChildren(...sections(run)),
    (error) => node.replaceChildren(`This run cannot be shown: ${error.message}`),
  );
  return node;
}

function sections(run) {
  const files = Object.entries(run.files ?? {}).map(([name, path]) => element("a", { href: path }, name));
  const permanent = element("a", { href: `#run=${encodeURIComponent(run.id)}` }, "link to this run");
  const reason = run.record?.reason;
  const parts = [
    element("p", { class: run.status === "ok" ? "status" : "status bad" }, reason && reason !== "null" ? `${run.status}: ${reason}` : run.status),
    element("p", { class: "files" }, permanent, ...files),
  ];
  const plots = plotted.get(run.id);
  const own = plots?.byId.get(run.id);
  if (own) {
    parts.push(element("h3", {}, "Among its seeds"), ...whenWide(among(plots, own)), costs(plots, own));
    const curve = whenWide(searched(plots, own));
    if (curve.length) parts.push(element("h3", {}, "The search"), ...curve);
  }
  if (run.architecture) {
    const ink = plots?.ink ?? inks([...new Set(edgeOptions(run.architecture))].sort());
    parts.push(
      element("h3", {}, "What it found"),
      operationsKey(edgeOptions(run.architecture), ink),
      architecture(run.architecture, ink),
      folded("Its decisions", false, pairs(run.architecture)),
    );
  }
  if (run.command) parts.push(element("h3", {}, "Command"), command(run.command));
  if (run.config) {
    const differing = Object.entries(run.config).filter(([name]) => plots?.differing.has(name));
    if (differing.length) parts.push(element("h3", {}, "In what it differs from its neighbours"), pairs(Object.fromEntries(differing)));
    parts.push(folded("Whole configuration", !plots, pairs(run.config)));
  }
  if (run.log) parts.push(folded("Log", !plots, ...run.log.map(phase)));
  if (run.record) parts.push(folded("Record", false, pairs(run.record)));
  return parts;
}

function folded(name, open, ...nodes) {
  const details = element("details", {}, element("summary", {}, element("h3", {}, name)), ...nodes);
  details.open = open;
  return details;
}

function command(text) {
  return copyable(element("div", { class: "commands" }, element("pre", {}, element("code", {}, text))));
}

function pairs(values) {
  const rows = Object.entries(values).map(([name, text]) =>
    element("tr", {}, element("th", { scope: "row" }, ...broken(name)), element("td", {}, text)),
  );
  return element("table", { class: "pairs" }, element("tbody", {}, ...rows));
}

// A name that may break after its dots and underscores.
function broken(name) {
  return name.split(/(?<=[._])/).flatMap((part) => [part, element("wbr", {})]);
}

// A log's series, each against passes where the log counts them.
function phase({ phase: name, entries, series }) {
  const { passes, ...others } = series;
  const x = passes?.every((value) => value !== null) ? passes : Array.from({ length: entries }, (_, i) => i);
  const rows = Object.entries(others).map(([key, y]) => {
    const known = y.filter((value) => value !== null);
    const [first, last] = [known[0], known.at(-1)];
    return element("tr", {}, element("th", { scope: "row" }, key), element("td", {}, spark(x, y)), element("td", { class: "number" }, `${first} to ${last}`));
  });
  const caption = `${name || "log"}: ${count(entries, "entry").replace("entrys", "entries")}${x === passes ? `, ${x[0].toLocaleString("en")} to ${x.at(-1).toLocaleString("en")} passes` : ""}`;
  return element("table", { class: "pairs series" }, element("caption", {}, caption), element("tbody", {}, ...rows));
}

function spark(x, y) {
  const known = y.map((value, i) => [x[i], value]).filter(([, value]) => value !== null);
  const scale = (values, size) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return (value) => (high > low ? (size * (value - low)) / (high - low) : size / 2);
  };
  const [across, up] = [scale(x, 100), scale(known.map(([, value]) => value), 24)];
  const points = known.map(([a, b]) => `${across(a).toFixed(1)},${(26 - up(b)).toFixed(1)}`).join(" ");
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  const line = document.createElementNS(namespace, "polyline");
  line.setAttribute("points", points);
  for (const [key, value] of Object.entries({ viewBox: "0 0 100 28", preserveAspectRatio: "none", class: "spark", "aria-hidden": "true" })) svg.setAttribute(key, value);
  svg.append(line);
  return svg;
}

// Commands with a button that copies them; they break between words, not within `--option`.
function copyable(block) {
  const pre = block.querySelector("pre");
  for (const code of pre.querySelectorAll("code")) {
    code.replaceChildren(...code.textContent.split(/( +)/).map((word) => (word.trim() ? element("span", {}, word) : word)));
  }
  const say = (text) => {
    button.textContent = text;
    setTimeout(() => (button.textContent = "Copy"), 2000);
  };
  const select = () => {
    getSelection().selectAllChildren(pre);
    say("Selected");
  };
  const button = element("button", { type: "button", class: "copy", "aria-live": "polite" }, "Copy");
  button.addEventListener("click", () => {
    if (!navigator.clipboard) select();
    else navigator.clipboard.writeText(pre.textContent).then(() => say("Copied"), select);
  });
  block.append(button);
  return block;
}
