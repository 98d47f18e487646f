// Architectures: a cell as arcs between its nodes, coloured by their operations; anything else as rows.

const EDGE = /^(?:(.*)\.)?edge\((\d+),(\d+)\)$/;
const NODE = 52; // from node to node
const INKS = 10; // colours of operations, `--op-N`

// How an operation looks: its colour is its place among all of the part; what has no weights is dashed.
function inks(operations) {
  const places = new Map(operations.map((name, place) => [name, `var(--op-${place % INKS})`]));
  return (name) => places.get(name) ?? "var(--soft)";
}

const dash = (name) => (/skip|identity/.test(name) ? "2 3" : /pool/.test(name) ? "5 3" : "none");

function cellsOf(choices) {
  const [cells, rows] = [new Map(), new Map()];
  for (const [name, option] of Object.entries(choices)) {
    const [, cell = "cell", from, to] = EDGE.exec(name) ?? [];
    if (from === undefined) {
      const group = name.split(".")[0];
      if (!rows.has(group)) rows.set(group, []);
      rows.get(group).push([name.slice(group.length + 1) || group, option]);
    } else {
      if (!cells.has(cell)) cells.set(cell, []);
      cells.get(cell).push({ from: Number(from), to: Number(to), option });
    }
  }
  return { cells, rows };
}

function architecture(choices, ink) {
  const { cells, rows } = cellsOf(choices);
  const drawings = [...cells].map(([name, edges]) =>
    element("figure", { class: "cell" }, element("figcaption", {}, name === "cell" ? "cell" : `${name} cell`), arcs(name, edges, ink)),
  );
  const chips = [...rows].map(([group, options]) =>
    element("p", { class: "layers" }, element("b", {}, group), ...options.map(([name, option]) => element("span", { class: "chip" }, `${name} ${option}`))),
  );
  return element("div", { class: "architecture" }, ...drawings, ...chips);
}

// Nodes in a line; edges that reach further are higher arcs. `none` is no edge.
function arcs(name, edges, ink) {
  const kept = edges.filter(({ option }) => option !== "none");
  const last = Math.max(...edges.map(({ to }) => to));
  const inputs = Math.min(...edges.map(({ to }) => to));
  const longest = Math.max(1, ...kept.map(({ from, to }) => to - from));
  const rise = (from, to) => 8 + (to - from) * 17;
  const [width, top] = [last * NODE + 40, rise(0, longest) + 8];
  const x = (node) => 20 + node * NODE;
  const words = kept.map(({ from, to, option }) => `${from} to ${to} ${option}`).join(", ");
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${top + 20}`, role: "img", "aria-label": `${name}: ${words || "no edge"}` });
  svg.style.width = `${width}px`;
  for (const { from, to, option } of kept) {
    const height = rise(from, to);
    const path = drawn("path", {
      d: `M${x(from)},${top - 6} C${x(from) + 6},${top - 1.3 * height} ${x(to) - 6},${top - 1.3 * height} ${x(to)},${top - 6}`,
      fill: "none", stroke: ink(option), "stroke-width": /5x5/.test(option) ? 4 : 2.25, "stroke-dasharray": dash(option),
    });
    path.append(drawn("title", {}, `${from} to ${to}: ${option}`));
    svg.append(path);
  }
  for (let node = 0; node <= last; node += 1) {
    svg.append(
      drawn("circle", { cx: x(node), cy: top, r: 10, fill: "var(--panel)", stroke: "var(--rule)" }),
      drawn("text", { x: x(node), y: top + 4, "text-anchor": "middle", "font-size": 11, fill: "var(--ink)" }, node < inputs && inputs > 1 ? ["k-2", "k-1"][node] ?? node : node ? String(node) : "in"),
    );
  }
  return svg;
}

// The operations that these architectures use, with their looks.
function operationsKey(options, ink) {
  const used = [...new Set(options)].filter((option) => option !== "none").sort();
  return element(
    "ul",
    { class: "operations" },
    ...used.map((option) => {
      const svg = drawn("svg", { viewBox: "0 0 28 8", "aria-hidden": "true" });
      svg.append(drawn("path", { d: "M0,4 H28", stroke: ink(option), "stroke-width": /5x5/.test(option) ? 4 : 2.25, "stroke-dasharray": dash(option) }));
      return element("li", {}, svg, option);
    }),
  );
}

const edgeOptions = (choices) => Object.entries(choices).flatMap(([name, option]) => (EDGE.test(name) ? [option] : []));
