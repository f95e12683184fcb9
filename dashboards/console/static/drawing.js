// Answers as elements: numbers, tables, and charts by Plotly with the same numbers in a table behind each.

import { amount, cell, colourOf, moment, unitOf } from "./wording.js";

// Okabe and Ito's colours, told apart by nearly everybody, and four more.
const COLOURS = {
  light: ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7a5bc4", "#8a7a00", "#4c6b8a", "#a33b5c"],
  dark: ["#4aa8e0", "#f0b429", "#2ec79b", "#e39ac3", "#8fd0f7", "#ff8a4c", "#a98cf0", "#c9b93a", "#8fb0d1", "#e0748f"],
};
const OTHERS = { "(other)": "#8492a6", "(none)": "#a7b1c0" };
const MOST_ROWS = 400;

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== undefined && value !== "") made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export function draw(panel, answer, body) {
  if (isEmpty(panel, answer)) {
    body.replaceChildren(element("p", { class: "empty" }, "Nothing in this range."));
  } else if (panel.kind === "stat") {
    body.replaceChildren(numbers(panel, answer));
  } else if (panel.kind === "table") {
    body.replaceChildren(table(panel, answer));
  } else {
    chart(panel, answer, body);
  }
}

function isEmpty(panel, { rows, columns }) {
  if (rows.length === 0) return true;
  return panel.kind !== "table" && rows.every((row) => row.every((value, at) => columns[at].holds !== "number" || value === null));
}

function numbers(panel, { columns, rows: [row] }) {
  const list = element("dl", { class: "numbers" });
  columns.forEach((column, at) => {
    const shown = element("dd", { class: colourOf(panel, row[at]) }, cell(panel, column, row[at]));
    list.append(element("div", {}, element("dt", {}, column.name), shown));
  });
  return list;
}

function table(panel, { columns, rows }) {
  const idAt = columns.findIndex((column) => column.name === "id");
  const decisionAt = columns.findIndex((column) => column.name === "decision");
  const head = element("tr");
  columns.forEach((column, at) => { if (at !== idAt) head.append(element("th", { scope: "col", class: column.holds }, column.name)); });
  if (idAt >= 0) head.append(element("th", { scope: "col" }, "decide"));
  const rest = element("tbody");
  for (const row of rows.slice(0, MOST_ROWS)) {
    const line = element("tr");
    columns.forEach((column, at) => {
      if (at === idAt) return;
      const shares = panel.kind === "table" && unitOf(panel, column.name) === "ratio" && column.name !== "breach";
      const colour = shares && column.holds === "number" ? colourOf(panel, row[at]) : "";
      const text = cell(panel, column, row[at]);
      line.append(element("td", { class: `${column.holds} ${colour}`.trim() }, tagged(column, row[at]) ?? text));
    });
    if (idAt >= 0) line.append(element("td", { class: "decide" }, ...decisions(row[idAt], row[decisionAt], row[idAt + 1])));
    rest.append(line);
  }
  const caption = element("caption", { class: "quiet" }, panel.title);
  const found = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": panel.title },
    element("table", {}, caption, element("thead", {}, head), rest));
  if (rows.length > MOST_ROWS) found.append(element("p", {}, `The first ${MOST_ROWS} of ${rows.length} rows.`));
  return found;
}

// Buttons tell the page by an event what was decided; it knows how to keep it.
function decisions(id, decision, what) {
  const offered = decision === "open" ? [["accepted", "Accept"], ["dismissed", "Dismiss"]] : [["none", "Take back"]];
  return offered.map(([value, label]) => {
    const button = element("button", { type: "button", "data-of": id, "aria-label": `${label}: ${what}` }, label);
    button.addEventListener("click", () => button.dispatchEvent(new CustomEvent("decide", { bubbles: true, detail: { id, decision: value } })));
    return button;
  });
}

const TAGS = { accepted: "green", dismissed: "", critical: "red", warning: "orange", high: "orange", warn: "orange", info: "", firing: "red", opened: "red", worsened: "red", resolved: "green" };

function tagged(column, value) {
  if (!["severity", "state", "decision"].includes(column.name) || !(value in TAGS)) return null;
  return element("span", { class: `tag ${TAGS[value]}`.trim() }, value);
}

function chart(panel, answer, body) {
  let place = body.querySelector(".chart");
  if (!place) {
    place = element("div", { class: "chart", role: "img" });
    const behind = element("details", { class: "behind" }, element("summary", {}, "Show the numbers"));
    body.replaceChildren(place, behind);
  }
  place.setAttribute("aria-label", `${panel.title} ${summary(panel, answer)}`);
  const behind = body.querySelector(".behind");
  const fill = () => { if (behind.open) behind.replaceChildren(behind.firstChild, table(panel, answer)); };
  behind.ontoggle = fill;
  fill();
  const { data, layout } = FIGURES[panel.kind](panel, answer, place.clientWidth);
  window.Plotly.react(place, data, { ...dressed(), ...layout }, { displayModeBar: false, responsive: true, displaylogo: false });
}

// What a chart says, for who does not see it.
function summary(panel, { columns, rows }) {
  if (panel.kind === "time_series" || panel.kind === "bars") {
    const names = [...seriesOf(columns, rows).keys()];
    return `${rows.length} values from ${moment(rows[0][0])} to ${moment(rows.at(-1)[0])} UTC of ${names.join(", ")}. The numbers are below.`;
  }
  const said = rows.slice(0, 5).map((row) => `${row[0]}: ${cell(panel, columns[1], row[1])}`);
  return `${said.join("; ")}. The numbers are below.`;
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return { ink: colour("ink"), soft: colour("soft"), line: colour("line"), card: colour("card") };
}

function dressed() {
  const { ink, soft, card, line } = theme();
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: soft, size: 12, family: "inherit" },
    hoverlabel: { bgcolor: card, bordercolor: line, font: { color: ink } },
    margin: { l: 8, r: 8, t: 8, b: 8, pad: 0 }, autosize: true,
  };
}

function painter(names) {
  const palette = COLOURS[document.documentElement.dataset.theme === "dark" ? "dark" : "light"];
  const found = new Map();
  let next = 0;
  for (const name of [...names].sort()) found.set(name, OTHERS[name] ?? palette[next++ % palette.length]);
  return (name) => found.get(name);
}

// Series by name: { x, y } in order of time.
function seriesOf(columns, rows) {
  const found = new Map();
  const labelled = columns[1].name === "series";
  for (const row of rows) {
    for (let at = labelled ? 2 : 1; at < columns.length; at += 1) {
      const name = labelled ? row[1] : columns[at].name;
      if (!found.has(name)) found.set(name, { x: [], y: [] });
      found.get(name).x.push(row[0]);
      found.get(name).y.push(row[at]);
    }
  }
  return found;
}

const PREFIXES = { usd: { tickprefix: "$" }, ratio: { tickformat: ".0%" }, ms: { ticksuffix: " ms" }, s: { ticksuffix: " s" }, gib: { ticksuffix: " GiB" } };

function overTime(panel, answer, width) {
  const { soft, line } = theme();
  const found = seriesOf(answer.columns, answer.rows);
  const colour = painter(found.keys());
  const stacked = panel.kind === "bars";
  const data = [...found].map(([name, { x, y }]) => ({
    name: escaped(name), x, y, ...(stacked ? bar(x, answer, colour(name)) : lineOf(y, colour(name))),
    text: y.map((value) => amount(value, panel.unit, panel.decimals)), textposition: "none",
    hovertemplate: `%{text}<extra>${escaped(name)}</extra>`,
  }));
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, tickfont: { color: soft }, automargin: true, fixedrange: true };
  const thresholds = stacked ? [] : panel.thresholds.map(({ value }) => ({
    type: "line", xref: "paper", x0: 0, x1: 1, y0: value, y1: value, line: { color: "#d04444", width: 1, dash: "dash" },
  }));
  return { data, layout: {
    barmode: "stack", bargap: 0.08, hovermode: "x unified", shapes: thresholds,
    xaxis: { ...axis, type: "date", range: [answer.start, answer.end].map((at) => new Date(at).toISOString()), nticks: Math.max(Math.floor(width / 90), 3) },
    yaxis: { ...axis, rangemode: "tozero", nticks: 5, ...PREFIXES[panel.unit] },
    showlegend: true, legend: { orientation: "h", x: 0, yref: "container", y: 0, yanchor: "bottom", font: { color: soft } },
  } };
}

function bar(x, { interval }, colour) {
  // A bar stands on the time from its point on, not around it.
  return { type: "bar", marker: { color: colour }, width: x.map(() => interval * 0.92), offset: 0 };
}

function lineOf(y, colour) {
  return { type: "scatter", mode: y.filter((value) => value !== null).length < 20 ? "lines+markers" : "lines", line: { color: colour, width: 2 }, connectgaps: false };
}

function pie(panel, { columns, rows }, width) {
  const { ink, card } = theme();
  const colour = painter(rows.map((row) => row[0]));
  const shown = rows.map((row) => cell(panel, columns[1], row[1]));
  return { data: [{
    type: "pie", hole: 0.58, sort: false, direction: "clockwise", labels: rows.map((row) => escaped(row[0])), values: rows.map((row) => row[1]),
    text: shown, textinfo: "percent", textposition: "inside", insidetextorientation: "horizontal", automargin: true,
    hovertemplate: "%{label}<br>%{text} (%{percent})<extra></extra>",
    marker: { colors: rows.map((row) => colour(row[0])), line: { color: card, width: 2 } },
  }], layout: { showlegend: true, uniformtext: { mode: "hide", minsize: 11 },
    legend: width < 380 ? { orientation: "h", y: -0.05, font: { color: ink } } : { x: 1.02, y: 0.5, font: { color: ink } } } };
}

function ranking(panel, { columns, rows }, width) {
  const { ink, line, soft } = theme();
  const inOrder = [...rows].reverse();
  const most = width < 420 ? 16 : 30;
  const tints = { red: "#c94b4b", orange: "#d98324", green: "#2f9e5f", "": COLOURS.light[0] };
  return { data: [{
    type: "bar", orientation: "h", y: inOrder.map((_, at) => at), x: inOrder.map((row) => row[1]),
    text: inOrder.map((row) => cell(panel, columns[1], row[1])), textposition: "auto", cliponaxis: false, constraintext: "none", textangle: 0,
    marker: { color: inOrder.map((row) => tints[colourOf(panel, row[1])]) }, customdata: inOrder.map((row) => escaped(row[0])),
    hovertemplate: "%{customdata}: %{text}<extra></extra>", outsidetextfont: { color: ink }, insidetextfont: { color: "#ffffff" },
  }], layout: { bargap: 0.28, showlegend: false,
    xaxis: { gridcolor: line, zerolinecolor: soft, showticklabels: false, fixedrange: true },
    yaxis: { range: [Math.min(inOrder.length - 5, 0) - 0.5, inOrder.length - 0.5], tickvals: inOrder.map((_, at) => at), ticktext: inOrder.map((row) => shortened(row[0], most)), automargin: true, fixedrange: true, tickfont: { color: ink } } } };
}

function shortened(text, most) {
  return escaped(text.length > most ? `${text.slice(0, most - 1)}…` : text);
}

// Plotly reads a little HTML in its texts; names are from outside.
function escaped(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "% {");
}

const FIGURES = { time_series: overTime, bars: overTime, pie, ranking };
