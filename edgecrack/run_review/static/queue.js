// The list of cracks: those to be decided on first. Makes rows only for what is in sight.

import { length, made, stateOf, stateWords, width } from "./words.js";

const ROW_PX = 60;
const HEAD_PX = 34;
const BEYOND_PX = 300;
const GROUPS = [
  ["To be decided", (state) => state === "open"],
  ["Decided", (state) => state === "confirmed" || state === "rejected"],
  ["Unconfirmed marks", (state) => state === "unconfirmed"],
];
export const FILTERS = {
  all: () => true,
  open: (crack) => stateOf(crack) === "open",
  confirmed: (crack) => stateOf(crack) === "confirmed",
  rejected: (crack) => stateOf(crack) === "rejected",
  unconfirmed: (crack) => stateOf(crack) === "unconfirmed",
};
const widest = (crack) => crack.width.p95_mm ?? (crack.width.p95_px ?? -1) / 1e6;
const ORDERS = {
  number: null,
  widest: (a, b) => widest(b) - widest(a),
  longest: (a, b) => (b.length_mm ?? b.length_px / 1e6) - (a.length_mm ?? a.length_px / 1e6),
};

export class Queue {
  // `box` scrolls; `onChoose` gets a crack's id.
  constructor(box, onChoose) {
    this.box = box;
    this.list = made("div", "", "rows");
    this.list.setAttribute("role", "presentation");
    box.replaceChildren(this.list);
    this.rows = [];
    this.ids = [];
    this.cracks = new Map();
    this.selected = null;
    this.marked = new Set();
    this.filter = "all";
    this.order = "number";
    this.empty = "";
    box.addEventListener("scroll", () => this.paint());
    box.addEventListener("click", (event) => {
      const row = event.target.closest("[data-place]");
      if (row) onChoose(this.rows[Number(row.dataset.place)].crack.id, event);
    });
    new ResizeObserver(() => this.paint()).observe(box);
  }

  update(cracks) {
    this.cracks = cracks;
    const shown = [...cracks.values()].filter(FILTERS[this.filter]);
    if (ORDERS[this.order]) shown.sort(ORDERS[this.order]);
    this.rows = [];
    let top = 0;
    for (const [title, belongs] of GROUPS) {
      const members = shown.filter((crack) => belongs(stateOf(crack)));
      if (!members.length) continue;
      this.rows.push({ title: `${title} (${members.length})`, top, high: HEAD_PX });
      top += HEAD_PX;
      for (const crack of members) {
        this.rows.push({ crack, top, high: ROW_PX });
        top += ROW_PX;
      }
    }
    this.ids = this.rows.filter((row) => row.crack).map((row) => row.crack.id);
    this.list.style.height = `${top}px`;
    this.paint();
  }

  select(id, scrolls = true) {
    this.selected = id;
    const row = this.rows.find((each) => each.crack?.id === id);
    if (row && scrolls) {
      const low = row.top - HEAD_PX;
      const high = row.top + row.high - this.box.clientHeight + 8;
      if (this.box.scrollTop > low) this.box.scrollTop = low;
      else if (this.box.scrollTop < high) this.box.scrollTop = high;
    }
    this.paint();
  }

  mark(ids) {
    this.marked = new Set(ids);
    this.paint();
  }

  // The next or previous one in the list.
  beside(id, step) {
    const at = this.ids.indexOf(id);
    if (at < 0) return this.ids[0] ?? null;
    return this.ids[at + step] ?? null;
  }

  // The open crack that stands next after a place of the list as it was.
  nextOpen(ids, id) {
    const at = Math.max(0, ids.indexOf(id));
    const ahead = [...ids.slice(at + 1), ...ids.slice(0, at)];
    const found = ahead.find((each) => this.cracks.get(each)?.is_open);
    return found ?? [...this.cracks.values()].find((crack) => crack.is_open)?.id ?? null;
  }

  paint() {
    const from = this.box.scrollTop - BEYOND_PX;
    const to = this.box.scrollTop + this.box.clientHeight + BEYOND_PX;
    const items = [];
    if (!this.rows.length && this.empty) items.push(made("p", this.empty, "none"));
    let chosen = "";
    this.rows.forEach((row, place) => {
      if (row.top > to || row.top + row.high < from) return;
      const item = row.crack ? this.row(row.crack, place) : made("div", row.title, "group");
      if (!row.crack) item.setAttribute("role", "presentation");
      item.style.top = `${row.top}px`;
      item.style.height = `${row.high}px`;
      if (row.crack?.id === this.selected) chosen = item.id;
      items.push(item);
    });
    this.list.replaceChildren(...items);
    if (chosen) this.box.setAttribute("aria-activedescendant", chosen);
    else this.box.removeAttribute("aria-activedescendant");
  }

  row(crack, place) {
    const state = stateOf(crack);
    const [sign, word] = stateWords(crack);
    const item = made("div", "", "crack");
    item.id = `row-${place}`;
    item.dataset.place = place;
    item.dataset.crack = crack.id;
    item.dataset.state = state;
    item.dataset.marked = this.marked.has(crack.id) ? "yes" : "no";
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", String(crack.id === this.selected));
    item.setAttribute("aria-setsize", this.ids.length);
    item.setAttribute("aria-posinset", this.ids.indexOf(crack.id) + 1);
    const reason = crack.review.reason ? ` (${crack.review.reason})` : "";
    const first = made("span", "", "first");
    const signed = made("span", "", "state");
    const mark = made("span", sign, "sign");
    mark.setAttribute("aria-hidden", "true");
    signed.append(mark, made("span", `${word}${reason}`));
    first.append(made("b", `Crack ${crack.id}`), signed);
    const size = [length(crack)[0], width(crack, "p95") && `${width(crack, "p95")} wide`];
    const extras = [crack.review.gauges.length ? "gauge" : "", ...crack.review.tags, crack.review.note ? "note" : ""];
    item.append(first, made("span", [...size, ...extras].filter(Boolean).join(" · "), "second"));
    return item;
  }
}
