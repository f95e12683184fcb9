// Numbers and times as people read them. Times are UTC, as everything is.

const number = (options) => new Intl.NumberFormat("en-US", options);
const plain = number({ maximumFractionDigits: 2 });
const compact = number({ notation: "compact", maximumFractionDigits: 2 });
const whole = number({ maximumFractionDigits: 0 });

function dollars(value, decimals) {
  const size = Math.abs(value);
  const digits = decimals ?? (size === 0 || size >= 1 ? 2 : size >= 0.01 ? 3 : 6);
  const shown = size >= 1e6
    ? number({ notation: "compact", maximumFractionDigits: 2 }).format(size)
    : number({ minimumFractionDigits: Math.min(digits, 2), maximumFractionDigits: digits }).format(size);
  return `${value < 0 ? "−" : ""}$${shown}`;
}

function duration(seconds) {
  if (Math.abs(seconds) < 120) return `${plain.format(seconds)} s`;
  if (Math.abs(seconds) < 7200) return `${plain.format(seconds / 60)} min`;
  if (Math.abs(seconds) < 172800) return `${plain.format(seconds / 3600)} h`;
  return `${plain.format(seconds / 86400)} days`;
}

const UNITS = {
  usd: dollars,
  ratio: (value) => number({ style: "percent", maximumFractionDigits: 1 }).format(value),
  tokens: (value) => (Math.abs(value) >= 1e5 ? compact : whole).format(value),
  calls: (value) => (Math.abs(value) >= 1e5 ? compact : plain).format(value),
  ms: (value) => (Math.abs(value) >= 10000 ? duration(value / 1000) : `${whole.format(value)} ms`),
  s: duration,
  cores: (value) => `${plain.format(value)} cores`,
  gib: (value) => `${plain.format(value)} GiB`,
  number: (value, decimals) => number({ maximumFractionDigits: decimals ?? 4 }).format(value),
};

export function unitOf(panel, column) {
  return panel.units[column] ?? panel.unit;
}

export function amount(value, unit, decimals) {
  return value === null || value === undefined ? "–" : UNITS[unit](value, decimals ?? undefined);
}

export function moment(text) {
  const at = new Date(text);
  return Number.isNaN(at.valueOf()) ? String(text) : at.toISOString().slice(0, 16).replace("T", " ");
}

export function cell(panel, column, value) {
  if (value === null || value === undefined || value === "") return "–";
  if (column.holds === "time") return moment(value);
  if (column.holds === "number") return amount(value, unitOf(panel, column.name), panel.decimals);
  return String(value);
}

// The colour of the highest threshold that a value has reached; none below all of them.
export function colourOf(panel, value) {
  let found = "";
  for (const threshold of panel.thresholds) if (value !== null && value >= threshold.value) found = threshold.colour;
  return found;
}
