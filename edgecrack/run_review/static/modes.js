// The modes of the review page: each has its texts, keys, clicks and lines, and ends when it is sent or
// cancelled. Modes send through `page.send` only.

import { PEN } from "./course.js";
import { distance, evenly, lengthOf, moved, nearest, nearestOnLine, pointAlong } from "./geometry.js";
import { counted, made, millimetres } from "./words.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP_PX = 2;
const FAST_PX = 24;
const NEAR_END_PX = 4;
const TWICE_MS = 450;
const TWICE_PX = 10;

class Mode {
  constructor(page) {
    this.page = page;
    this.crack = page.crack?.id ?? null;
  }

  get title() { return ""; }
  get hint() { return ""; }
  get buttons() { return []; }
  get isBegun() { return false; } // whether leaving loses something
  get focus() { return null; } // what gets the focus; null for the prompt itself
  body() {}
  layers() { return []; }
  marked() { return []; }
  click() {}
  get draws() { return false; } // whether it needs the picture
  choose() { return false; } // whether it takes a crack that was clicked in the list
  key() { return false; } // true: it was for this mode; null: let the browser have it
  submit() {}
  leave() { this.page.leave(); }
}

export class Rejecting extends Mode {
  get title() { return `Reject crack ${this.crack}: what is it?`; }
  get hint() { return "1 to 6 for a reason, Enter for none, Esc to leave"; }
  get buttons() {
    return [["No reason", () => this.submit(), "primary"], ["Cancel", () => this.leave()]];
  }

  body(box) {
    const row = made("div", "", "choices");
    this.page.survey.reasons.forEach((reason, at) => row.append(this.page.button(
      reason, () => this.send(reason), "", String(at + 1))));
    box.append(row);
  }

  key(event) {
    const reason = this.page.survey.reasons[Number(event.key) - 1];
    if (!reason) return false;
    this.send(reason);
    return true;
  }

  submit() { this.send(this.last ?? ""); }
  send(reason) {
    this.last = reason;
    this.page.send({ action: "reject", crack: this.crack, reason });
  }
}

export class Gauging extends Mode {
  get title() { return `Crack ${this.crack}: width on the gauge`; }
  get hint() { return "in millimetres, as 0.35; Enter keeps it, Esc leaves"; }
  get buttons() {
    return [["Save reading", () => this.submit(), "primary"], ["Cancel", () => this.leave()]];
  }
  get focus() { return this.input; }
  get isBegun() { return this.input.value.trim() !== ""; }

  body(box) {
    const row = made("div", "", "entry");
    this.input = made("input");
    this.input.id = "gauge";
    this.input.inputMode = "decimal";
    this.input.autocomplete = "off";
    this.input.setAttribute("aria-label", "Reading in millimetres");
    row.append(this.input, made("span", "mm"));
    box.append(row);
  }

  submit() {
    const text = this.input.value.trim().replace(",", ".");
    const mm = /^\d*\.?\d+$|^\d+\.$/.test(text) ? Number(text) : NaN;
    if (!(mm > 0)) this.page.refuse("Enter a number of millimetres, such as 0.35.");
    else this.page.send({ action: "gauge", crack: this.crack, mm });
  }
}

export class Tagging extends Mode {
  get title() { return `Tags of crack ${this.crack}`; }
  get hint() { return "1 to 4 set or remove a tag, saved immediately; Esc ends"; }
  get buttons() { return [["Done", () => this.leave()]]; }

  body(box) {
    const row = made("div", "", "choices");
    this.toggles = this.page.survey.tags.map((tag, at) =>
      this.page.button(tag, () => this.toggle(tag), "", String(at + 1)));
    row.append(...this.toggles);
    box.append(row);
    this.changed();
  }

  changed() {
    const tags = this.page.cracks.get(this.crack)?.review.tags ?? [];
    this.page.survey.tags.forEach((tag, at) => {
      this.toggles[at].setAttribute("aria-pressed", String(tags.includes(tag)));
    });
  }

  toggle(tag) {
    const tags = new Set(this.page.cracks.get(this.crack)?.review.tags ?? []);
    if (!tags.delete(tag)) tags.add(tag);
    this.wanted = this.page.survey.tags.filter((each) => tags.has(each));
    this.submit();
  }

  submit() {
    if (this.wanted) this.page.send({ action: "tags", crack: this.crack, tags: this.wanted });
  }

  key(event) {
    const tag = this.page.survey.tags[Number(event.key) - 1];
    if (tag) this.toggle(tag);
    else if (event.key === "Enter" || event.key === "t") this.leave();
    else return false;
    return true;
  }
}

export class Noting extends Mode {
  get title() { return `Note on crack ${this.crack}`; }
  get hint() { return "Enter saves it, Shift+Enter starts a new line, Esc cancels; an empty note removes it"; }
  get buttons() {
    return [["Save note", () => this.submit(), "primary"], ["Cancel", () => this.leave()]];
  }
  get focus() { return this.input; }
  get isBegun() { return this.input.value.trim() !== this.before; }

  body(box) {
    this.before = this.page.cracks.get(this.crack).review.note;
    this.input = made("textarea");
    this.input.id = "note";
    this.input.rows = 3;
    this.input.maxLength = 2000;
    this.input.value = this.before;
    this.input.setAttribute("aria-label", `Note on crack ${this.crack}`);
    box.append(this.input);
  }

  submit() {
    this.page.send({ action: "note", crack: this.crack, text: this.input.value.trim() });
  }
}

// Another reviewer's action is not undone by a stray key press.
export class Undoing extends Mode {
  constructor(page, what, who) {
    super(page);
    this.what = what;
    this.who = who;
  }
  get title() { return `The last action is ${this.who}'s: ${this.what}`; }
  get hint() { return "Enter undoes it, Esc cancels"; }
  get buttons() {
    return [["Undo it", () => this.submit(), "primary"], ["Cancel", () => this.leave()]];
  }
  key(event) {
    if (event.key !== "u") return false;
    this.submit();
    return true;
  }
  submit() { this.page.send({ action: "undo", revision: this.page.revision }); }
}

export class Splitting extends Mode {
  get draws() { return true; }

  constructor(page) {
    super(page);
    this.lines = page.crack.lines;
    this.line = 0;
    this.along = lengthOf(this.lines[0]) / 2;
    // In the middle of what is in sight, not of what lies in another picture.
    const seen = evenly(this.lines, 600).map((line) => line.filter((point) => page.sees(point)));
    const most = Math.max(...seen.map((points) => points.length));
    if (most) {
      this.line = seen.findIndex((points) => points.length === most);
      this.along = nearestOnLine(this.lines[this.line], seen[this.line][Math.floor(most / 2)]).along;
    }
  }

  get title() { return `Split crack ${this.crack}: where?`; }
  get hint() {
    const [first, second] = this.sizes;
    return `${first} and ${second} along this line. Click the place, or ← → (faster with Shift)`
      + `${this.lines.length > 1 ? ", ↑ ↓ to another branch" : ""}; Enter cuts, Esc leaves`;
  }
  get buttons() {
    return [
      ["Cut here", () => this.submit(), "primary"],
      ["◂", () => this.step(-1, false), "", "", "Back along the crack"],
      ["▸", () => this.step(1, false), "", "", "Forward along the crack"],
      ["Cancel", () => this.leave()],
    ];
  }
  get sizes() {
    const share = this.page.mmPerPixel;
    const whole = lengthOf(this.lines[this.line]);
    return [this.along, whole - this.along].map((each) =>
      (share ? millimetres(each * share) : `${each.toFixed(0)} px`));
  }

  layers() {
    const line = this.lines[this.line];
    const view = this.page.placing;
    const place = moved(pointAlong(line, this.along), view.fromSheet);
    if (!place) return [];
    const sides = [-1, 1].map((side) => moved(pointAlong(line, this.along + side), view.fromSheet) ?? place);
    const [dx, dy] = [sides[1][0] - sides[0][0], sides[1][1] - sides[0][1]];
    const half = 22 / (Math.hypot(dx, dy) || 1) / this.page.scale;
    const cut = [[place[0] - dy * half, place[1] + dx * half], [place[0] + dy * half, place[1] - dx * half]];
    return [{ line: cut, colour: PEN, thick: 3 }, { ring: place, colour: PEN, thick: 2 }];
  }

  click(place) {
    const view = this.page.placing;
    const found = nearest(this.lines, moved(place, view.toSheet));
    this.go(found.line, found.along);
  }

  go(line, along) {
    this.line = line;
    const whole = lengthOf(this.lines[line]);
    this.along = Math.min(Math.max(along, Math.min(NEAR_END_PX, whole / 2)), Math.max(whole - NEAR_END_PX, whole / 2));
    this.page.changed(this.place);
  }

  get place() { return pointAlong(this.lines[this.line], this.along); }

  step(side, fast) {
    // As far on the sheet as it is to be on the screen.
    const view = this.page.placing;
    const here = moved(this.place, view.fromSheet);
    const there = moved(pointAlong(this.lines[this.line], this.along + 1), view.fromSheet);
    const scale = (here && there && distance(here, there)) || 1;
    this.go(this.line, this.along + (side * (fast ? FAST_PX : 2 * STEP_PX)) / scale / this.page.scale);
  }

  key(event) {
    const [side, line] = ARROWS[event.key] ?? [0, 0];
    if (side) this.step(side, event.shiftKey);
    else if (line && this.lines.length > 1) {
      const number = (this.line + line + this.lines.length) % this.lines.length;
      this.go(number, lengthOf(this.lines[number]) / 2);
    } else return Boolean(line);
    return true;
  }

  submit() {
    if (lengthOf(this.lines[this.line]) < 2 * NEAR_END_PX) {
      this.page.refuse("This line is too short to split.");
      return;
    }
    this.page.send({ action: "split", crack: this.crack, at: this.place });
  }
}

export class Merging extends Mode {
  constructor(page) {
    super(page);
    this.chosen = [];
  }
  get title() {
    const all = [this.crack, ...this.chosen];
    return this.chosen.length ? `Merge cracks ${all.join(" + ")}` : `Merge crack ${this.crack} with which others?`;
  }
  get hint() { return "Click the others in the picture, on the map or in the list, or type their numbers; Enter merges, Esc cancels"; }
  get buttons() {
    return [["Merge", () => this.submit(), "primary"], ["Cancel", () => this.leave()]];
  }
  get focus() { return this.input; }
  get isBegun() { return this.chosen.length > 0; }

  body(box) {
    const row = made("div", "", "entry");
    this.input = made("input");
    this.input.id = "merge";
    this.input.autocomplete = "off";
    this.input.placeholder = "3 7 D1";
    this.input.setAttribute("aria-label", `Numbers of the cracks that are one with ${this.crack}`);
    row.append(this.input);
    box.append(row);
  }

  get draws() { return true; }
  marked() { return this.chosen; }

  // Numbers are typed also after a click in the picture.
  key(event) {
    if (!/^[0-9a-zA-Z]$/.test(event.key)) return false;
    this.input.focus();
    return null;
  }

  choose(id) {
    if (id === this.crack) return true;
    this.chosen = this.chosen.includes(id) ? this.chosen.filter((each) => each !== id) : [...this.chosen, id];
    this.page.changed();
    return true;
  }

  click(place) {
    const id = this.page.crackAt(place);
    if (id !== null) this.choose(id);
  }

  submit() {
    for (const word of this.input.value.split(/[\s,;]+/).filter(Boolean)) {
      const id = this.page.idOf(word);
      if (id === null) {
        this.page.refuse(`There is no crack ${word}.`);
        return;
      }
      if (id !== this.crack && !this.chosen.includes(id)) this.chosen.push(id);
    }
    this.input.value = "";
    this.page.changed();
    if (!this.chosen.length) {
      this.page.refuse("Select at least one other crack.");
      return;
    }
    // As the server orders them.
    const cracks = [this.crack, ...this.chosen].sort((a, b) =>
      (typeof a === typeof b ? (a < b ? -1 : 1) : typeof a === "number" ? -1 : 1));
    this.page.send({ action: "merge", cracks });
  }
}

export class Pen extends Mode {
  get draws() { return true; }

  constructor(page) {
    super(page);
    this.frame = page.frame;
    this.points = [];
    this.cross = null;
    this.lastAt = 0;
  }
  get title() { return "Draw a missed crack"; }
  get hint() {
    return `${counted(this.points.length, "point")}. Click along the crack, or move the cross by arrow keys and press Space. `
      + "Backspace removes the last; Enter or a double click ends";
  }
  get buttons() {
    return [
      ["Done", () => this.submit(), "primary"],
      ["Remove last", () => this.remove()],
      ["Cancel", () => this.leave()],
    ];
  }
  get isBegun() { return this.points.length > 0; }

  layers() {
    const { points, cross } = this;
    const line = points.length > 1 ? [{ line: points, colour: PEN, thick: 2 }] : [];
    const lead = cross && points.length
      ? [{ line: [points[points.length - 1], cross], colour: PEN, thick: 1.25, dashes: [4, 4], casing: false }] : [];
    return [
      ...line, ...lead, ...points.map((dot) => ({ dot, colour: PEN })),
      ...(cross ? [{ cross, colour: PEN, thick: 2 }] : []),
    ];
  }

  add(place) {
    const { width, height } = this.frame;
    const reach = 8 / this.page.scale;
    const [x, y] = place;
    if (x < -reach || y < -reach || x > width + reach || y > height + reach) {
      this.page.refuse("That is outside the picture.");
      return;
    }
    this.points.push([Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)]);
    this.page.refuse("");
    this.page.changed();
  }

  remove() {
    this.points.pop();
    this.page.changed();
  }

  click(place, event) {
    const now = event.timeStamp;
    const last = this.points[this.points.length - 1];
    const isSecond = last && now - this.lastAt < TWICE_MS && distance(last, place) * this.page.scale < TWICE_PX;
    this.lastAt = now;
    this.cross = null;
    if (isSecond && this.points.length > 1) this.submit();
    else if (!isSecond) this.add(place);
  }

  key(event) {
    const arrow = ARROWS[event.key];
    if (arrow) {
      const step = (event.shiftKey ? FAST_PX : STEP_PX) / this.page.scale;
      const from = this.cross ?? this.points[this.points.length - 1] ?? this.page.centre;
      this.cross = [0, 1].map((axis) => Math.min(Math.max(from[axis] + step * arrow[axis], 0),
        axis ? this.frame.height : this.frame.width));
      this.page.changed();
      this.page.reveal(this.cross);
    } else if (event.key === " ") {
      this.cross ??= this.page.centre;
      this.add(this.cross);
    } else if (event.key === "Backspace") {
      this.remove();
    } else return false;
    return true;
  }

  submit() {
    if (this.points.length < 2) {
      this.page.refuse("Set at least two points.");
      return;
    }
    this.page.send({ action: "draw", frame: this.frame.number, points: this.points.map((each) => [...each]) });
  }
}
