// A page: what the address says is shown; every choice is put into the address, so that it can be shared.

import { draw, element } from "./drawing.js";
import { moment } from "./wording.js";

const EVERY_MS = 30_000;
const slug = document.body.dataset.slug;
const at = (id) => document.getElementById(id);
const panels = new Map();  // id -> { panel, body, box, answer, failed }
let page;
let latest = 0;  // the newest round of questions: answers to an older one are not shown

function chosen() {
  const query = new URLSearchParams(location.search);
  if (!query.has("from")) query.set("from", page?.since ?? "now-24h");
  if (!query.has("to")) query.set("to", "now");
  return query;
}

function go(query) {
  history.pushState(null, "", `?${query}`);
  follow();
}

async function fetched(path, query) {
  const answer = await fetch(query ? `${path}?${query}` : path, { headers: { accept: "application/json" } })
    .catch(() => { throw new Error("The console does not answer."); });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.detail ?? `The console answered ${answer.status}.`);
  return found;
}

// ---- controls

function showControls() {
  const query = chosen();
  const range = at("range");
  const known = [...range.options].some((option) => option.value === query.get("from")) && query.get("to") === "now";
  range.value = known ? query.get("from") : "custom";
  at("custom").hidden = known;
  if (!known) for (const name of ["from", "to"]) at(name).value = local(query.get(name));
  for (const link of document.querySelectorAll("nav a")) link.search = `?${query}`;
}

function local(text) {
  const when = /^\d+$/.test(text) ? new Date(Number(text)) : /^now/.test(text) ? new Date() : new Date(`${text.replace(/Z$/, "")}Z`);
  return Number.isNaN(when.valueOf()) ? "" : when.toISOString().slice(0, 16);
}

async function showVariables() {
  const query = chosen();
  await Promise.all(page.variables.map(async (variable) => {
    const box = at(`variable-${variable.name}`) ?? made(variable);
    const picked = new Set(query.getAll(variable.name));
    let offered = [];
    try {
      offered = await fetched(`/api/pages/${slug}/variables/${variable.name}`, range(query));
    } catch { /* the panels tell what is wrong */ }
    fillVariable(box, variable, offered, picked);
  }));
}

function range(query) {
  return new URLSearchParams([["from", query.get("from")], ["to", query.get("to")]]);
}

function made(variable) {
  const box = element("details", { class: "variable", id: `variable-${variable.name}` },
    element("summary", { class: "chooser" }), element("fieldset"));
  box.addEventListener("change", () => {
    const query = chosen();
    query.delete(variable.name);
    for (const input of box.querySelectorAll("input:checked")) if (input.value) query.append(variable.name, input.value);
    go(query);
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && box.open) { box.open = false; box.firstChild.focus(); }
  });
  at("variables").append(box);
  return box;
}

function fillVariable(box, variable, offered, picked) {
  const names = [...new Set([...offered, ...picked])].sort();
  const label = picked.size === 0 ? "All" : picked.size === 1 ? [...picked][0] : `${picked.size} chosen`;
  box.firstChild.textContent = `${variable.label}: ${label}`;
  box.toggleAttribute("data-chosen", picked.size > 0);
  const fields = names.map((name) => {
    const input = element("input", { type: "checkbox", value: name });
    input.checked = picked.has(name);
    return element("label", {}, input, name);
  });
  if (names.length === 0) fields.push(element("p", {}, "Nothing to choose in this range."));
  const focused = document.activeElement?.value;
  const inside = box.contains(document.activeElement);
  box.lastChild.replaceChildren(element("legend", {}, variable.description), ...fields);
  if (inside && focused) [...box.querySelectorAll("input")].find((input) => input.value === focused)?.focus();
}

// ---- panels

function build() {
  const rows = page.rows.filter((row) => row.panels.length > 0).map((row, number) => {
    const heading = element("h2", { id: `row-${number}` }, row.title);
    const grid = element("div", { class: "row" }, ...row.panels.map(box));
    return element("section", { "aria-labelledby": `row-${number}` }, heading, grid);
  });
  at("rows").replaceChildren(...rows);
}

function box(panel) {
  const id = `panel-${panel.id}`;
  const about = element("p", { id: `${id}-about`, hidden: true }, panel.description);
  const button = element("button", { type: "button", "aria-expanded": "false", "aria-controls": `${id}-about`, "aria-label": `What this is: ${panel.title}` }, "?");
  button.addEventListener("click", () => {
    about.hidden = !about.hidden;
    button.setAttribute("aria-expanded", String(!about.hidden));
  });
  const body = element("div", { class: "body" });
  const found = element("section", { class: "panel", id, "data-kind": panel.kind, "aria-labelledby": `${id}-title`, "aria-busy": "true" },
    element("div", { class: "head" }, element("h3", { id: `${id}-title` }, panel.title), element("div", { class: "about" }, button, about)), body);
  found.style.setProperty("--width", panel.width);
  found.style.setProperty("--height", panel.height);
  panels.set(panel.id, { panel, body, box: found, answer: null, failed: false });
  return found;
}

async function ask(entry, query, round) {
  const { panel, body, box } = entry;
  box.setAttribute("aria-busy", "true");
  if (!entry.answer) body.replaceChildren(element("div", { class: "waiting" }), element("span", { class: "quiet" }, "Loading"));
  try {
    const answer = await fetched(`/api/pages/${slug}/panels/${panel.id}`, query);
    if (round !== latest) return;
    entry.answer = answer;
    entry.failed = false;
    redraw(entry);
  } catch (error) {
    if (round !== latest) return;
    entry.answer = null;
    entry.failed = true;
    const again = element("button", { type: "button" }, "Try again");
    again.addEventListener("click", () => askAgain(entry, query));
    body.replaceChildren(element("div", { class: "failed", role: "alert" }, error.message, element("br"), again));
  } finally {
    if (round === latest) box.removeAttribute("aria-busy");
  }
}

async function askAgain(entry, query) {
  await ask(entry, query, latest);
  showStatus();
  if (document.activeElement === document.body) (entry.body.querySelector("button") ?? entry.box.querySelector("button")).focus();
}

// Who reads on while it is drawn anew stays at the same place, also by keyboard.
function redraw({ panel, answer, body, box }) {
  const held = body.contains(document.activeElement) ? document.activeElement : null;
  const top = body.querySelector(".scroll")?.scrollTop ?? 0;
  draw(panel, answer, body);
  if (top) body.querySelector(".scroll")?.scrollTo(0, top);
  if (held && !held.isConnected) {
    const same = body.querySelector(`[data-of="${held.dataset.of}"]`);
    (same ?? body.querySelector(".scroll") ?? box.querySelector("button")).focus({ preventScroll: true });
  }
}

async function load() {
  const round = (latest += 1);
  const query = chosen();
  at("rows").setAttribute("aria-busy", "true");
  await Promise.all([...panels.values()].map((entry) => ask(entry, query, round)));
  if (round !== latest) return;
  at("rows").removeAttribute("aria-busy");
  showStatus();
}

function showStatus() {
  const failed = [...panels.values()].filter((entry) => entry.failed).length;
  at("status").className = failed ? "bad" : "";
  at("status").textContent = failed
    ? `${failed} of ${panels.size} panels could not be loaded`
    : `${moment(new Date()).slice(11)} UTC`;
}

function follow() {
  showControls();
  showVariables();
  load();
}

// ---- decisions

async function decide({ target, detail: { id, decision } }) {
  const token = document.querySelector("meta[name=token]").content;
  const answer = await fetch(`/api/recommendations/${id}`, {
    method: "POST", body: JSON.stringify({ decision }),
    headers: { "content-type": "application/json", "x-spendstream-token": token },
  }).catch(() => null);
  const why = answer?.ok ? "" : (await answer?.json().catch(() => null))?.detail ?? "the console does not answer";
  at("status").className = why ? "bad" : "";
  at("status").textContent = why ? `Not kept: ${why}` : "Kept.";
  const box = target.closest(".panel");
  const entry = [...panels.values()].find((each) => each.box === box);
  if (!why && entry) await ask(entry, chosen(), latest);
}

at("rows").addEventListener("decide", decide);

// ---- dark and light

function paint(theme) {
  document.documentElement.dataset.theme = theme;
  at("theme").setAttribute("aria-pressed", String(theme === "dark"));
  for (const entry of panels.values()) if (entry.answer) draw(entry.panel, entry.answer, entry.body);
}

const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
const preferred = matchMedia("(prefers-color-scheme: dark)");
const wanted = () => remembered() ?? (preferred.matches ? "dark" : "light");

at("theme").addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("theme", theme); } catch { /* it lasts as long as the page */ }
  paint(theme);
});
preferred.addEventListener("change", () => paint(wanted()));

// ---- what people do

at("range").addEventListener("change", ({ target }) => {
  const query = chosen();
  at("custom").hidden = target.value !== "custom";
  if (target.value === "custom") {
    const last = panels.values().next().value?.answer;
    if (last) { at("from").value = local(String(last.start)); at("to").value = local(String(last.end)); }
    at("from").focus();
    return;
  }
  query.set("from", target.value);
  query.set("to", "now");
  go(query);
});
at("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  const query = chosen();
  for (const name of ["from", "to"]) if (at(name).value) query.set(name, at(name).value);
  go(query);
});
at("reload").addEventListener("click", follow);
document.addEventListener("click", (event) => {
  for (const box of document.querySelectorAll("details.variable[open]")) if (!box.contains(event.target)) box.open = false;
});
addEventListener("popstate", follow);
setInterval(() => {
  if (at("live").checked && !document.hidden && chosen().get("to") === "now") load();
}, EVERY_MS);

paint(wanted());
try {
  page = await fetched(`/api/pages/${slug}`);
  build();
  follow();
} catch (error) {
  at("rows").removeAttribute("aria-busy");
  at("rows").replaceChildren(element("p", { class: "failed", role: "alert" }, error.message));
}
