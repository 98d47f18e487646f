// Figures: drawn from a part's data by Observable Plot, which the page holds compressed.

const NAMED = 520; // pixels of width from which on names that fit stand beside their rows, not above
const FACET = 250; // pixels that one of several small figures has at least
const SPREAD = 50; // times its least value that a cost reaches before its axis is logarithmic

const fixed = (value, digits = 4) => (value === null ? "-" : value.toLocaleString("en", { maximumSignificantDigits: digits }));

class Plots {
  constructor(section, data) {
    this.section = section;
    this.costs = data.costs;
    this.begin = data.begin; // of axes of accuracies; null where no run lies far below the others
    this.methods = data.methods.map((method) => ({ ...method, ink: `var(--series-${method.colour})`, on: true }));
    this.runs = data.runs.map((run) => ({ ...run, method: this.methods[run.method] }));
    this.byId = new Map(this.runs.map((run) => [run.id, run]));
    this.curves = data.curves.map(({ method, id, x, y }) => ({ method: this.methods[method], id, points: x.map((passes, i) => ({ passes, valid: y[i] })) }));
    this.regrets = data.regrets.map((curve) => ({ ...curve, method: this.methods[curve.method] }));
    const [real, bits] = data.cloud; // in hundredths of a point
    this.cloud = real.map((x, i) => [x / 100, bits[i] / 100]);
    this.chosen = 0;
    this.differing = new Set(data.differing);
    this.ink = inks(data.operations);
    this.gallery = data.gallery;
    this.figures = [...section.querySelectorAll("figure.plot")].filter((figure) => this[figure.dataset.plot]);
    this.observer = new ResizeObserver((entries) => entries.forEach(({ target }) => this.draw(target.parentNode)));
  }

  start() {
    for (const figure of this.figures) {
      const box = figure.querySelector(".drawn");
      const said = element("output", { class: "said" });
      box.after(said);
      const say = (event) => (said.value = event.target.closest("a")?.getAttribute("aria-label") ?? "");
      box.addEventListener("focusin", say);
      box.addEventListener("focusout", () => (said.value = ""));
      box.addEventListener("keydown", (event) => this.step(event, box));
      if (figure.dataset.plot === "cost") figure.querySelector("h3").replaceWith(this.choice(figure));
      this.observer.observe(box);
    }
    this.section.querySelector(".pair")?.before(this.legend());
    for (const item of this.section.querySelectorAll("[data-found]")) {
      const { id, choices } = this.gallery[item.dataset.found];
      item.append(` ${fixed(this.byId.get(id).accuracy)} %`, architecture(choices, this.ink));
    }
    const options = this.gallery.flatMap(({ choices }) => edgeOptions(choices));
    this.section.querySelector(".found")?.before(operationsKey(options, this.ink));
  }

  // Buttons that switch methods off and on, in all figures of the part.
  legend() {
    const buttons = this.methods.map((method) => {
      const button = element("button", { type: "button", "aria-pressed": "true" }, mark(method), method.name);
      button.addEventListener("click", () => {
        method.on = !method.on;
        button.setAttribute("aria-pressed", String(method.on));
        this.figures.forEach((figure) => this.draw(figure));
      });
      return button;
    });
    return element("div", { class: "legend-of-methods", role: "group", "aria-label": "Methods that the figures show" }, ...buttons, element("span", {}, "Large marks are means, small ones runs: a click opens one."));
  }

  choice(figure) {
    const options = this.costs.flatMap((title, i) => (this.runs.some((run) => run.costs[i] !== null) ? [element("option", { value: i }, title)] : []));
    const select = element("select", { "aria-label": "Cost" }, ...options);
    select.addEventListener("change", () => {
      this.chosen = Number(select.value);
      this.draw(figure);
    });
    return element("h3", {}, "Test accuracy against ", select);
  }

  draw(figure) {
    const box = figure.querySelector(".drawn");
    const width = Math.floor(box.clientWidth);
    if (!width) return;
    const svg = this[figure.dataset.plot](width);
    svg.addEventListener("click", () => svg.value && go(svg.value.id));
    svg.querySelectorAll("a").forEach((link, i) => {
      link.setAttribute("tabindex", i ? "-1" : "0");
      link.setAttribute("aria-label", link.firstElementChild.getAttribute("aria-label"));
    });
    box.replaceChildren(svg);
  }

  // The arrows go from mark to mark; the tab key takes a figure as one.
  step(event, box) {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const links = [...box.querySelectorAll("a")];
    const next = links[links.indexOf(document.activeElement) + by];
    if (!by || !next) return;
    event.preventDefault();
    document.activeElement.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  }

  get shown() {
    return this.methods.filter((method) => method.on && method.mean !== null).sort((a, b) => b.mean - a.mean);
  }

  get points() {
    return this.runs.filter((run) => run.method.on && run.accuracy !== null);
  }

  isFar(run) {
    return this.begin !== null && run.accuracy < this.begin;
  }

  // The axis of accuracies: runs far below all others stand at its end.
  accuracies() {
    const axis = { label: "test accuracy (%)", grid: true, nice: true };
    if (this.begin === null) return axis;
    const most = d3.max([...this.runs.map((run) => run.accuracy), ...this.methods.map((method) => method.upper)]);
    return { ...axis, domain: [this.begin, most], clamp: true };
  }

  // The costs of a run that are known, by their titles.
  costsOf(run) {
    return this.costs.flatMap((title, i) => (run.costs[i] === null ? [] : [[title, fixed(run.costs[i])]]));
  }

  // The same, and before them what a table says of the architecture when it is real-valued.
  detailsOf(run) {
    return [...(run.real === null ? [] : [["real-valued (%)", fixed(run.real)]]), ...this.costsOf(run)];
  }

  said(run) {
    const costs = this.detailsOf(run).map(([title, text]) => `${title} ${text}`);
    return `${run.method.name}, seed ${run.seed}: ${fixed(run.accuracy)} %; ${costs.join(", ")}`;
  }

  tip(run) {
    const costs = this.detailsOf(run).map(([title, text]) => `${title}: ${text}`);
    return [`${run.method.name}, seed ${run.seed}`, `test accuracy (%): ${fixed(run.accuracy)}`, ...costs].join("\n");
  }

  options(width, more) {
    const names = this.methods.map((method) => method.name);
    const symbols = this.methods.map((method) => d3[`symbol${method.symbol}`]);
    return { width, marginBottom: 44, style: { fontSize: "12px" }, color: { type: "identity" }, r: { type: "identity" }, symbol: { domain: names, range: symbols }, ...more };
  }

  // Marks of runs: links, which the keyboard reaches; and what the mouse finds near it.
  seeds(points, more) {
    const edge = { stroke: (run) => (this.isFar(run) ? run.method.ink : "var(--paper)"), strokeWidth: (run) => (this.isFar(run) ? 1.5 : 0.5) };
    const own = { fill: (run) => run.method.ink, fillOpacity: (run) => (this.isFar(run) ? 0 : 0.6), ...edge, ...more };
    return [
      Plot.dot(points, { r: 3.5, ...own, href: (run) => `#run=${encodeURIComponent(run.id)}`, ariaLabel: (run) => this.said(run) }),
      Plot.tip(points, Plot.pointer({ x: more.x, y: more.y, dy: more.dy, title: (run) => this.tip(run), fill: "var(--paper)", stroke: "var(--rule)" })),
    ];
  }

  accuracy(width) {
    const methods = this.shown;
    const names = 24 + 6.6 * Math.max(0, ...methods.map((method) => method.name.length)); // pixels of the longest
    const named = width >= NAMED && names < 0.42 * width;
    const row = (each) => (each.method ?? each).name;
    const middle = named ? 0 : 6;
    return Plot.plot(
      this.options(width, {
        height: 70 + methods.length * (named ? 34 : 46),
        marginLeft: named ? names : 12,
        marginRight: 20,
        x: this.accuracies(),
        y: { type: "point", domain: methods.map(row), label: null, axis: named ? "left" : null, tickSize: 0, padding: 0.6 },
        marks: [
          named ? null : Plot.text(methods, { y: row, text: row, frameAnchor: "left", textAnchor: "start", dy: -12, fontSize: 13, fill: "var(--ink)" }),
          Plot.link(methods.filter((method) => method.lower !== null), { x1: "lower", x2: "upper", y1: row, y2: row, dy: middle, stroke: "ink", strokeWidth: 1.5 }),
          Plot.dot(methods, { x: "mean", y: row, dy: middle, symbol: row, r: 5.5, fill: "ink", stroke: "ink" }),
          ...this.seeds(this.points, { x: "accuracy", y: row, dy: middle + 9 }),
        ],
      }),
    );
  }

  // Accuracy against the chosen cost: runs, means, and the front of the runs.
  cost(width) {
    const x = (each) => each.costs[this.chosen];
    const points = this.points.filter((run) => x(run) !== null);
    const means = this.shown.flatMap((method) => {
      const costs = points.filter((run) => run.method === method).map(x);
      return costs.length ? [{ name: method.name, ink: method.ink, mean: method.mean, cost: d3.mean(costs) }] : [];
    });
    const [least, most] = d3.extent(points, x);
    return Plot.plot(
      this.options(width, {
        height: Math.max(300, Math.min(70 + this.shown.length * 34, 420)),
        marginLeft: 44,
        marginRight: 20,
        x: { label: this.costs[this.chosen], grid: true, nice: true, type: least > 0 && most / least > SPREAD ? "log" : "linear" },
        y: this.accuracies(),
        marks: [
          Plot.line(front(points, x), { x, y: "accuracy", curve: "step-after", stroke: "var(--rule)", strokeDasharray: "4 3" }),
          Plot.dot(means, { x: "cost", y: "mean", symbol: "name", r: 6, fill: "ink", stroke: "ink" }),
          ...this.seeds(points, { x, y: "accuracy" }),
        ],
      }),
    );
  }

  // What a table says the incumbents lack, over passes.
  regret(width) {
    const points = this.regrets
      .filter((curve) => curve.method.on)
      .flatMap(({ method, x, y, lower, upper }) => x.map((passes, i) => ({ method, passes, regret: y[i], lower: lower?.[i] ?? y[i], upper: upper?.[i] ?? y[i] })))
      .filter((point) => point.regret !== null);
    const [name, ink] = [(point) => point.method.name, (point) => point.method.ink];
    const line = { x: "passes", z: name, curve: "step-after" };
    const text = (point) => `${name(point)}\n${fixed(point.regret)} points after ${fixed(point.passes)} passes`;
    return Plot.plot(
      this.options(width, {
        height: 360,
        marginLeft: 44,
        marginRight: 20,
        x: { label: "search passes", tickFormat: "~s" },
        y: { label: "regret (points)", grid: true, zero: true, nice: true },
        marks: [
          Plot.areaY(points, { ...line, y1: "lower", y2: "upper", fill: ink, fillOpacity: 0.12 }),
          Plot.line(points, { ...line, y: "regret", stroke: ink, strokeWidth: 2 }),
          Plot.dot(points.filter((_, i) => i % 12 === 6), { x: "passes", y: "regret", symbol: name, r: 4.5, fill: ink, stroke: ink }),
          Plot.tip(points, Plot.pointer({ x: "passes", y: "regret", title: text, fill: "var(--paper)", stroke: "var(--rule)" })),
        ],
      }),
    );
  }

  // How many seeds of a method ended in which tenth of the table.
  ranks(width) {
    const runs = this.runs.filter((run) => run.method.on && run.percentile !== null);
    const methods = this.methods.filter((method) => runs.some((run) => run.method === method));
    const { columns, rows, at } = this.facets(methods, width);
    const place = { fx: (each) => at(each.method ?? each)[0], fy: (each) => at(each.method ?? each)[1] };
    return Plot.plot(
      this.options(width, {
        height: 80 + 110 * rows,
        marginLeft: 44,
        marginTop: 46,
        x: { label: "worse in the table (%)", domain: [0, 100], ticks: 5 },
        y: { label: "seeds", grid: true, ticks: 3 },
        fx: { axis: null, padding: 0.08, domain: d3.range(columns) },
        fy: { axis: null, padding: 0.3 },
        marks: [
          Plot.rectY(runs, Plot.binX({ y: "count" }, { x: "percentile", thresholds: d3.range(0, 101, 10), ...place, fill: (run) => run.method.ink, tip: { fill: "var(--paper)", format: { fx: false, fy: false, fill: false } } })),
          Plot.ruleY([0], { stroke: "var(--rule)" }),
          Plot.text(methods, { ...place, text: "name", frameAnchor: "top-left", dy: -14, fontSize: 12, fill: "var(--ink)" }),
        ],
      }),
    );
  }

  // All architectures of a table, real-valued against 1-bit, and over them what runs found.
  precisions(width) {
    const found = this.points.filter((run) => run.real !== null);
    const every = [...this.cloud, ...this.runs.flatMap((run) => (run.real === null ? [] : [[run.real, run.accuracy]]))];
    return Plot.plot(
      this.options(width, {
        height: Math.max(300, Math.min(width, 460)),
        marginLeft: 44,
        marginRight: 20,
        x: { label: "real-valued test accuracy (%)", grid: true, nice: true, domain: d3.extent(every, ([x]) => x) },
        y: { label: "1-bit test accuracy (%)", grid: true, nice: true, domain: d3.extent(every, ([, y]) => y) },
        marks: [
          (_, { x, y }) => drawn("path", { class: "cloud", d: this.cloud.map(([real, bits]) => `M${x(real).toFixed(1)},${y(bits).toFixed(1)}h0`).join("") }),
          ...this.seeds(found, { x: "real", y: "accuracy", symbol: (run) => run.method.name, r: 5, fillOpacity: 0.85, stroke: (run) => run.method.ink, strokeWidth: 1 }),
        ],
      }),
    );
  }

  // Where each of several small figures stands.
  facets(methods, width) {
    const columns = Math.max(1, Math.min(methods.length, Math.floor(width / FACET)));
    const places = new Map(methods.map((method, i) => [method, [i % columns, Math.floor(i / columns)]]));
    return { columns, rows: Math.ceil(methods.length / columns), at: (method) => places.get(method) };
  }

  // Searches over time, a small figure for each method, with the others' searches in grey.
  anytime(width) {
    const curves = this.curves.filter((curve) => curve.method.on);
    const methods = this.methods.filter((method) => curves.some((curve) => curve.method === method));
    const { rows, at } = this.facets(methods, width);
    const [fx, fy] = [(each) => at(each.method ?? each)[0], (each) => at(each.method ?? each)[1]];
    const points = curves.flatMap((curve) => curve.points.map((point) => ({ ...point, method: curve.method, id: curve.id })));
    const line = { x: "passes", y: "valid", z: "id", fx, fy, curve: "step-after" };
    const text = (point) => `${point.method.name}, seed ${this.byId.get(point.id).seed}\n${fixed(point.valid)} % after ${fixed(point.passes)} passes`;
    return Plot.plot(
      this.options(width, {
        height: 80 + 150 * rows,
        marginLeft: 44,
        marginTop: 46,
        x: { label: "search passes", ticks: 3, tickFormat: "~s", grid: true },
        y: { label: "validation accuracy (%)", ticks: 4, grid: true, nice: true },
        fx: { axis: null, padding: 0.08 },
        fy: { axis: null, padding: 0.22 },
        marks: [
          Plot.line(points, { ...line, facet: "exclude", stroke: "var(--line)", strokeWidth: 0.75 }),
          Plot.line(points, { ...line, stroke: (point) => point.method.ink, strokeWidth: 1.75 }),
          Plot.text(methods, { fx, fy, text: "name", frameAnchor: "top-left", dy: -14, fontSize: 12, fill: "var(--ink)" }),
          Plot.tip(points, Plot.pointer({ x: "passes", y: "valid", fx, fy, title: text, fill: "var(--paper)", stroke: "var(--rule)" })),
        ],
      }),
    );
  }
}

// What the panel shows of a run that a part has: its seed among the others, its search, its costs.

function among(plots, run) {
  const box = element("div", { class: "drawn strip" });
  const own = plots.runs.filter((other) => other.method === run.method && other.accuracy !== null);
  const others = plots.runs.filter((other) => other.method !== run.method && other.accuracy !== null);
  const words = own.map((other) => `seed ${other.seed} ${fixed(other.accuracy)}`).join(", ");
  return [
    box,
    (width) =>
      Plot.plot({
        ...plots.options(width, { height: 92, marginLeft: 12, marginRight: 12, marginTop: 26, x: { label: "test accuracy (%)", nice: true }, y: { axis: null, domain: [-1, 1] } }),
        ariaLabel: `Test accuracy of ${run.method.name} in %: ${words}; ${others.length} runs of other methods beside them`,
        marks: [
          Plot.tickX(others, { x: "accuracy", stroke: "var(--line)", insetTop: 8, insetBottom: 8 }),
          Plot.dot(own, { x: "accuracy", y: 0, r: (other) => (other === run ? 7 : 4.5), fill: run.method.ink, fillOpacity: (other) => (other === run ? 1 : 0.5), href: (other) => `#run=${encodeURIComponent(other.id)}`, ariaLabel: (other) => plots.said(other) }),
          Plot.text(own, { x: "accuracy", y: 0, text: (other) => `seed ${other.seed}`, dy: -20, fill: "var(--ink)", filter: (other) => other === run }),
        ],
      }),
  ];
}

function searched(plots, run) {
  const curves = plots.curves.filter((curve) => curve.method === run.method);
  if (!curves.some((curve) => curve.id === run.id)) return [];
  const points = curves.flatMap((curve) => curve.points.map((point) => ({ ...point, id: curve.id })));
  const line = { x: "passes", y: "valid", z: "id", curve: "step-after" };
  const own = points.filter((point) => point.id === run.id);
  return [
    element("div", { class: "drawn" }),
    (width) =>
      Plot.plot({
        ...plots.options(width, { height: 200, marginLeft: 44, x: { label: "search passes", tickFormat: "~s" }, y: { label: "validation accuracy (%), as the search estimates it", grid: true, nice: true } }),
        ariaLabel: `The search's estimate goes from ${fixed(own[0].valid)} to ${fixed(own.at(-1).valid)} %`,
        marks: [
          Plot.line(points, { ...line, filter: (point) => point.id !== run.id, stroke: "var(--line)" }),
          Plot.line(own, { ...line, stroke: run.method.ink, strokeWidth: 2 }),
          Plot.tip(own, Plot.pointer({ x: "passes", y: "valid", fill: "var(--paper)", stroke: "var(--rule)", title: (point) => `${fixed(point.valid)} % after ${fixed(point.passes)} passes` })),
        ],
      }),
  ];
}

function costs(plots, run) {
  return pairs(Object.fromEntries([["test accuracy (%)", fixed(run.accuracy)], ...plots.detailsOf(run)]));
}

// Draw into a box of the panel as soon as it has a width, and anew when that changes.
function whenWide([box, make]) {
  if (!box) return [];
  new ResizeObserver(() => box.clientWidth && box.replaceChildren(make(box.clientWidth))).observe(box);
  return [box];
}

// The points that none of at most their x exceeds.
function front(points, x) {
  let best = -Infinity;
  const rising = d3.sort(points, (a, b) => x(a) - x(b) || b.accuracy - a.accuracy);
  return rising.filter((run) => run.accuracy > best && ((best = run.accuracy), true));
}

function go(run) {
  location.hash = `#run=${encodeURIComponent(run)}`;
}

// What a method looks like, in a button of the legend.
function mark(method) {
  const svg = drawn("svg", { viewBox: "-8 -8 16 16", class: "mark", "aria-hidden": "true" });
  svg.append(drawn("path", { d: d3.symbol(d3[`symbol${method.symbol}`], 70)(), fill: method.ink, stroke: method.ink }));
  return svg;
}

function drawn(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// The libraries run as elements of the page, which its policy knows by their digests.
const library = (async () => {
  for (const script of document.querySelectorAll("script.library")) {
    const own = document.createElement("script");
    own.textContent = await inflate(script);
    document.head.append(own);
  }
})();

const plotted = new Map(); // the plots that a run is in, by its id
const started = library.then(() => {
  for (const script of document.querySelectorAll("script.plots")) {
    const plots = new Plots(script.closest(".part"), JSON.parse(script.textContent));
    for (const run of plots.runs) plotted.set(run.id, plots);
    plots.start();
  }
});

document.querySelectorAll(".sheet").forEach((section) => new Sheet(section));
document.querySelectorAll(".commands").forEach(copyable);
document.body.append(panel);
addEventListener("click", (event) => (opener = event.target.closest("a") ?? opener), true);
addEventListener("hashchange", follow);
follow();
