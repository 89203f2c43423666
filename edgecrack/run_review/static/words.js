// Texts for cracks, actions and figures.

const TO = "\u2013";
const STATES = {
  open: ["○", "open"],
  confirmed: ["✓", "confirmed"],
  rejected: ["✗", "rejected"],
  unconfirmed: ["?", "unconfirmed"],
};

// "open", "confirmed", "rejected" or "unconfirmed": what a crack is in this review.
export function stateOf(crack) {
  if (crack.is_open) return "open";
  return crack.review.decision ?? "unconfirmed";
}

// [sign, word]
export const stateWords = (crack) => STATES[stateOf(crack)];

export const counted = (number, word, plural = `${word}s`) => `${number} ${number === 1 ? word : plural}`;

export function width(crack, name) {
  for (const unit of ["mm", "px"]) {
    const value = crack.width[`${name}_${unit}`];
    if (value !== null && value !== undefined) return size(value, unit);
  }
  return null;
}

const size = (value, unit) => (unit === "mm" ? `${value.toFixed(2)} mm` : `${value.toFixed(1)} px`);

// An interval, kept on one line.
const unbroken = (text) => `95 %: ${text.replaceAll(" ", "\u00a0")}`;

export function meanWidth(crack) {
  for (const unit of ["mm", "px"]) {
    const [mean, low, high] = ["mean", "low", "high"].map((name) => crack.width[`${name}_${unit}`]);
    if (mean === null) continue;
    if (low === null || high === null) return [size(mean, unit), ""];
    return [size(mean, unit), unbroken(`${size(low, unit).split(" ")[0]}${TO}${size(high, unit)}`)];
  }
  return ["width not measurable", ""];
}

export function millimetres(value) {
  return value >= 1000 ? `${(value / 1000).toFixed(2)} m` : `${value.toFixed(0)} mm`;
}

// [length, interval]
export function length(crack) {
  if (crack.length_mm === null) return [`${crack.length_px.toFixed(0)} px`, ""];
  const { length_mm: mm, length_low_mm: low, length_high_mm: high } = crack;
  if (low === null || high === null) return [millimetres(mm), ""];
  return [millimetres(mm), unbroken(`${millimetres(low)}${TO}${millimetres(high)}`)];
}

export function when(text) {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return text;
  const day = time.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
  return `${day}, ${time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false })}`;
}

const names = (ids) => ids.join(" and ");

// An action as an instruction: "confirm crack 3".
export function toDo(action) {
  switch (action.action) {
    case "confirm": return `confirm crack ${action.crack}`;
    case "reject": return `reject crack ${action.crack}${action.reason ? ` (${action.reason})` : ""}`;
    case "reopen": return `reopen crack ${action.crack}`;
    case "draw": return `draw ${action.crack_id ? `crack ${action.crack_id}` : "a crack"}`;
    case "split": return `split crack ${action.crack}`;
    case "merge": return `merge cracks ${names(action.cracks)}`;
    case "gauge": return `enter ${action.mm} mm for crack ${action.crack}`;
    case "tags": return `tag crack ${action.crack}: ${action.tags.length ? action.tags.join(", ") : "none"}`;
    case "note": return `note on crack ${action.crack}`;
    case "looked": return "confirm that the whole surface was checked";
    default: return "undo the last action";
  }
}

// An action as a result: "crack 3 confirmed".
export function done(action) {
  switch (action.action) {
    case "confirm": return `crack ${action.crack} confirmed`;
    case "reject": return `crack ${action.crack} rejected${action.reason ? ` as ${action.reason}` : ""}`;
    case "reopen": return `crack ${action.crack} is open again`;
    case "draw": return `crack ${action.crack_id ?? ""} drawn`;
    case "split": return `crack ${action.crack} split`;
    case "merge": return `cracks ${names(action.cracks)} merged`;
    case "gauge": return `${action.mm} mm read on crack ${action.crack}`;
    case "tags": return `crack ${action.crack} tagged: ${action.tags.length ? action.tags.join(", ") : "none"}`;
    case "note": return `note on crack ${action.crack}`;
    case "looked": return "the whole surface was checked";
    default: return "undone";
  }
}

export const sentence = (text) => (text ? `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}` : "");

export function put(id, text) {
  const element = document.getElementById(id);
  const value = String(text);
  // Only changes: a screen reader would repeat the rest.
  if (element.textContent !== value) element.textContent = value;
}

// An element with text and no markup of its own.
export function made(tag, text = "", className = "") {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  if (className) element.className = className;
  return element;
}
