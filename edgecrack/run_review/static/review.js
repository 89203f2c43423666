// The review page: the selected crack, its picture, and the actions sent.

import { border, boxIn, chosenLayers, courseIn, frameView, otherLayers } from "./course.js";
import { showDetails, summary } from "./details.js";
import { Drawing } from "./drawing.js";
import { frameAt, framesShowing, inside, inverse, moved, movedLines, nearest, placed } from "./geometry.js";
import { Keeping, Refusal, answers, isSame } from "./keeping.js";
import { Gauging, Merging, Noting, Pen, Rejecting, Splitting, Tagging, Undoing } from "./modes.js";
import { Queue } from "./queue.js";
import { counted, done, length, made, meanWidth, put, sentence, stateWords, toDo, when, width } from "./words.js";

const byId = (id) => document.getElementById(id);
const isNarrow = () => matchMedia("(max-width: 1020px)").matches;
const NAME = "edgecrack reviewer";
const REACH_PX = 22;
const NEAREST_ZOOM = 3;
const PAN_PX = 60;
const ZOOM_STEP = 1.3;
const LATE_MS = 400;
const ENOUGH = 0.7; // of a crack in a kept frame, against all of it cut out

const keeping = new Keeping();
let frames = []; // with a picture, in their order
let selected = null; // id of a crack
let view = "picture";
let frame = null;
let sheet = 0;
let picked = null; // a place of the sheet that was clicked on the map
let mode = null;
let failed = null; // an action that was not saved
let waiting = null; // an action that waits for the reviewer's name
let hides = false;
let holds = false;
let isWhole = false;
let wasDone = false;
let showing = []; // frames that show the chosen crack
let missing = null; // address of a picture for which the server did not answer

// ---- the reviewer's name

function storedName() {
  try {
    return localStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}

let reviewer = storedName();

function setName(name) {
  reviewer = name;
  try {
    localStorage.setItem(NAME, name);
  } catch {
    // It is asked for again next time.
  }
  renew();
}

function askName() {
  byId("naming-name").value = reviewer;
  put("naming-wrong", "");
  byId("naming").showModal();
  byId("naming-name").select();
}

byId("naming-form").addEventListener("submit", (event) => {
  const name = byId("naming-name").value.trim();
  if (!name) {
    event.preventDefault();
    put("naming-wrong", "Give a name.");
    return;
  }
  setName(name);
});
byId("naming").addEventListener("close", () => {
  // The server is informed later; by then the name may have been asked for again.
  if (byId("naming").open) return;
  const action = waiting;
  waiting = null;
  home();
  if (action && reviewer) send(action);
});
byId("naming-leave").addEventListener("click", () => {
  waiting = null;
  byId("naming").close();
});
byId("naming").addEventListener("cancel", () => { waiting = null; });
byId("reviewer").addEventListener("click", askName);

// ---- sending

function tell(text, tone = "") {
  put("kept", text);
  byId("kept").dataset.tone = tone;
}

function refuse(text) {
  if (text) tell(text, "warn");
  else if (byId("kept").dataset.tone === "warn") tell("");
}

async function send(action) {
  if (!reviewer) {
    waiting = action;
    askName();
    return;
  }
  if (keeping.busy) {
    refuse("The last action is still being saved; press again.");
    return;
  }
  tell("Saving …");
  document.body.dataset.sending = "yes";
  const order = [...queue.ids];
  const sender = mode;
  const was = selected;
  let answer;
  try {
    answer = await keeping.act(reviewer, action);
  } catch (error) {
    failed = { action, mode: sender };
    put("problem-text", `Not saved: ${toDo(action)}. ${sentence(error.message)}`);
    byId("problem").hidden = false;
    tell("Not saved", "bad");
    // Another page may have caused the refusal.
    if (error instanceof Refusal) refresh();
    return;
  } finally {
    document.body.dataset.sending = "no";
  }
  if (failed && ((sender && failed.mode === sender) || isSame(failed.action, action))) forgetProblem();
  const isLast = keeping.progress.done && !wasDone ? ". Review complete" : "";
  wasDone = keeping.progress.done;
  tell(`Saved: ${action.action === "undo" ? `undone: ${lastUndone}` : done(answer.last ?? action)}${isLast}`, "good");
  if (mode === sender && mode && !(mode instanceof Tagging)) leave(false);
  update();
  goOn(action, answer, order, was);
}

// What is looked at after an action.
function goOn(action, answer, order, was) {
  const made = answer.changed.map((crack) => crack.id);
  const moves = selected === was;
  if (action.action === "confirm" || action.action === "reject") {
    const next = selected === action.crack ? queue.nextOpen(order, action.crack) : null;
    if (next !== null) choose(next);
    else if (moves) choose(selected, { stays: true });
  } else if (["draw", "merge", "split"].includes(action.action) && made.length) {
    choose(made[made.length - (action.action === "split" ? 2 : 1)] ?? made[0], { stays: action.action === "draw" });
  } else if (action.action === "undo" && made.length) {
    choose(made[0]);
  } else if (moves) {
    choose(keeping.cracks.has(selected) ? selected : queue.ids[0] ?? null, { stays: true });
  }
}

function forgetProblem() {
  failed = null;
  byId("problem").hidden = true;
}

byId("problem-again").addEventListener("click", () => {
  if (!failed) start();
  else if (mode && failed.mode === mode) mode.submit();
  else if (failed.action.action === "undo") send({ action: "undo", revision: keeping.progress.revision });
  else send(failed.action);
});
byId("problem-leave").addEventListener("click", () => {
  forgetProblem();
  tell("");
  home();
});

async function refresh() {
  try {
    if (await keeping.refresh()) update(true);
    if (missing !== null && missing === drawing.wanted) {
      if (view === "map") showMap();
      else showFrame(frame);
    }
    if (!failed && !byId("problem").hidden) forgetProblem();
  } catch (error) {
    if (failed) return;
    put("problem-text", sentence(error.message));
    byId("problem").hidden = false;
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
addEventListener("focus", () => refresh());

// ---- what is shown

const crack = () => keeping.cracks.get(selected) ?? null;
const ofSheet = () => frames.filter((each) => each.sheet === sheet);

function mapView() {
  const map = keeping.survey.sheets[sheet]?.map;
  if (!map) return null;
  return { frame: null, sheet, fromSheet: map.from_sheet, toSheet: inverse(map.from_sheet), width: drawing.size[0], height: drawing.size[1] };
}

// null where nothing is known of how the picture lies on the sheet.
const placing = () => (view === "map" ? mapView() : frame && !frame.isCutOut ? frameView(frame) : null);
const cutOuts = new Map();

// Selects a crack and shows it; `stays` keeps the picture and its zoom.
function choose(id, { stays = false } = {}) {
  selected = id;
  picked = null;
  const chosen = crack();
  queue.select(id);
  showing = chosen ? picturesOf(chosen) : [];
  if (chosen) {
    sheet = chosen.sheet;
    if (view === "picture" && !stays) showFrame(bestFrame(chosen));
    else if (view === "map" && !stays) showMap(true);
  }
  renew();
}

// The frames that show a crack, and what was cut out of its best one where that was not kept.
function picturesOf(chosen) {
  const found = framesShowing(chosen, frames);
  const best = chosen.best;
  if (!best?.view || frames.some((each) => each.number === best.frame)) return found;
  if (!cutOuts.has(best.view)) {
    cutOuts.set(best.view, { isCutOut: true, number: best.frame, name: best.name, url: best.view, sheet: chosen.sheet });
  }
  const at = found.findIndex((each) => each.frame.number > best.frame);
  found.splice(at < 0 ? found.length : at, 0, { frame: cutOuts.get(best.view), share: 0 });
  return found;
}

function bestFrame(chosen) {
  const best = chosen.best && frames.find((each) => each.number === chosen.best.frame);
  if (best) return best;
  const most = showing.reduce((one, other) => (other.share > (one?.share ?? 0) ? other : one), null);
  const cutOut = showing.find((each) => each.frame.isCutOut);
  return (cutOut && (most?.share ?? 0) < ENOUGH ? cutOut : most)?.frame ?? null;
}

// A frame of the sheet to draw in, or to go on from.
function wholeFrame() {
  if (frame && !frame.isCutOut) return frame;
  const list = ofSheet();
  const shows = showing.filter((each) => !each.frame.isCutOut);
  if (shows.length) return shows.reduce((one, other) => (other.share > one.share ? other : one)).frame;
  const from = frame?.number ?? crack()?.best?.frame ?? 0;
  const away = (each) => Math.abs(each.number - from);
  return list.reduce((one, other) => (one && away(one) <= away(other) ? one : other), null) ?? frames[0] ?? null;
}

async function showFrame(next, area = null) {
  view = "picture";
  frame = next;
  renew();
  if (!frame) {
    drawing.load(null, null);
    const none = keeping.survey.frames.length ? "No picture of this crack was kept." : "No pictures were kept of this run.";
    const onMap = keeping.survey.sheets[sheet]?.map ? " The map shows where it lies." : "";
    veil(crack() ? `${none} It can be decided on all the same.${onMap}` : none);
    return;
  }
  sheet = frame.sheet;
  veil("");
  const { isCutOut } = frame;
  const loading = drawing.load(frame.url, isCutOut ? null : [frame.width, frame.height]);
  if (area) drawing.show(area, NEAREST_ZOOM);
  else if (!isCutOut) showCrack();
  const there = await shown(loading, frame.url, "The picture is lost. The crack's data are beside it, and you can still decide on it.");
  if (there && isCutOut) {
    drawing.whole();
    isWhole = true;
  }
  fetchNext();
}

// Reports a picture that is late or missing.
async function shown(loading, url, lost) {
  byId("stage").dataset.picture = drawing.picture ? "there" : "coming";
  const late = setTimeout(() => veil("Loading the picture …"), LATE_MS);
  let there = await loading;
  clearTimeout(late);
  let text = there ? "" : lost;
  missing = null;
  if (there === false && url !== null && !(await answers(url))) {
    text = "The picture was not loaded: the review server does not respond.";
    missing = url;
    if (drawing.wanted !== url) there = undefined;
  }
  if (there !== undefined) veil(text);
  return there;
}

// The picture of the crack that is likely to be next.
function fetchNext() {
  const id = queue.nextOpen(queue.ids, selected);
  const best = id === null ? null : keeping.cracks.get(id).best;
  const next = best && frames.find((each) => each.number === best.frame);
  if (next) drawing.fetched(next.url);
}

async function showMap(keeps = false) {
  const map = keeping.survey.sheets[sheet]?.map;
  const url = map?.url ?? null;
  const isThere = view === "map" && drawing.wanted === url && drawing.picture;
  view = "map";
  renew();
  if (keeps && isThere) {
    const place = crack() && moved(crack().lines[0][0], map.from_sheet);
    if (place) drawing.reveal(place);
    return;
  }
  veil("");
  const there = await shown(drawing.load(url, null), url, map ? "The map is lost." : "This sheet has no map.");
  if (there === undefined) return;
  drawing.whole();
  renew();
}

// The part of the picture with the crack, and some of what is around it.
function showCrack() {
  isWhole = false;
  const chosen = crack();
  const place = placing();
  const box = chosen && place && boxIn(courseIn(chosen, place).lines, place);
  if (!box) {
    drawing.whole();
    isWhole = true;
    return;
  }
  const margin = Math.max(0.15 * Math.max(box[2] - box[0], box[3] - box[1]), 40);
  drawing.show([
    Math.max(box[0] - margin, 0), Math.max(box[1] - margin, 0),
    Math.min(box[2] + margin, place.width), Math.min(box[3] + margin, place.height),
  ], NEAREST_ZOOM);
}

function veil(text) {
  put("veil", text);
  byId("veil").hidden = !text;
}

// Of the other cracks in one picture; made once, as there may be thousands.
let others = { of: "", layers: new WeakMap() };

function layersOf(each, place, isMarked) {
  const of = `${view} ${view === "map" ? `${sheet} ${place.width}` : frame.number}`;
  if (others.of !== of) others = { of, layers: new WeakMap() };
  if (isMarked) return otherLayers(each, place, true);
  let found = others.layers.get(each);
  if (!found) {
    found = otherLayers(each, place, false);
    others.layers.set(each, found);
  }
  return found;
}

function layers() {
  const place = placing();
  if (!place) return [];
  const chosen = crack();
  const marks = new Set(mode ? mode.marked() : []);
  const found = [];
  for (const each of keeping.cracks.values()) {
    if (each.sheet !== sheet || each.id === selected) continue;
    const lies = layersOf(each, place, marks.has(each.id));
    // The map itself has lines of the machine's cracks, with numbers that may be small.
    if (view === "map" && isPrinted(each) && !marks.has(each.id)) found.push(...lies.filter((layer) => layer.label));
    else found.push(...lies);
  }
  if (view === "map" && frame && !frame.isCutOut && frame.sheet === sheet) found.push(...border(frame, place));
  if (chosen && chosen.sheet === sheet) {
    found.push(...chosenLayers(chosen, place, !(mode instanceof Splitting)));
  }
  const ring = picked && moved(picked, place.fromSheet);
  if (ring) found.push({ ring, colour: "#ffffff", thick: 2 });
  if (mode) found.push(...mode.layers());
  return found;
}

// Whether the map itself shows a crack as it is now.
const isPrinted = (each) => each.review.origin === "machine" && each.review.machine === "confirmed"
  && each.review.decision !== "rejected";

function crackAt(point) {
  const place = placing();
  if (!place) return null;
  const reach = REACH_PX / drawing.view.scale;
  let found = null;
  let closest = reach;
  for (const each of keeping.cracks.values()) {
    if (each.sheet !== sheet) continue;
    const lines = view === "map" ? movedLines(each.lines, place.fromSheet) : courseIn(each, place).lines;
    const { away } = nearest(lines, point);
    if (away < closest) {
      closest = away;
      found = each.id;
    }
  }
  return found;
}

// ---- the page

const drawing = new Drawing(byId("canvas"), {
  click: onClick,
  moved: (point) => {
    if (view === "map" || !point) byId("stage").dataset.over = "no";
    else byId("stage").dataset.over = !mode && crackAt(point) !== null ? "yes" : "no";
  },
  seen: () => {
    const stage = byId("stage");
    const { scale, x, y } = drawing.view;
    stage.dataset.view = JSON.stringify([scale, x, y]);
    stage.dataset.picture = drawing.picture ? "there" : "none";
  },
});

const queue = new Queue(byId("queue"), (id, event) => {
  if (mode?.choose(id)) return;
  if (!canLeave()) return;
  if (mode) leave();
  choose(id);
  if (event?.detail && isNarrow()) byId("stage").scrollIntoView({ block: "start" });
});

function onClick(point, event) {
  if (mode) {
    if (view === "picture" || mode instanceof Merging) mode.click(point, event);
    return;
  }
  const id = crackAt(point);
  if (id !== null) {
    if (id !== selected) choose(id, { stays: true });
    return;
  }
  if (view !== "map") return;
  const place = mapView();
  const there = place && moved(point, place.toSheet);
  const found = there && frameAt(there, sheet, frames);
  if (!found) {
    refuse("No picture of this place was kept.");
    return;
  }
  refuse("");
  picked = there;
  const [x, y] = moved(there, found.fromSheet);
  const half = 0.3 * Math.max(found.width, found.height);
  showFrame(found, [x - half, y - half, x + half, y + half]);
  isWhole = false;
}

function update(fromElsewhere = false) {
  const { cracks } = keeping;
  queue.empty = cracks.size ? "No crack matches this filter." : "The machine found no crack. One that it missed can be drawn: look at the map or the pictures, and press d. When all was looked over, press l.";
  queue.update(cracks);
  if (selected !== null && !cracks.has(selected)) {
    if (mode) leave();
    choose(queue.ids[0] ?? null);
  } else if (fromElsewhere) {
    queue.select(selected, false);
  }
  mode?.changed?.();
  renew();
}

// ---- progress

function reviewed() {
  const decided = [...keeping.cracks.values()].filter((each) => each.review.decision !== null).length;
  return [decided, decided + keeping.progress.open.length];
}

function showProgress() {
  const [decided, all] = reviewed();
  const { done: isDone, reviewers, actions } = keeping.progress;
  put("progress", `${decided} of ${all} reviewed`);
  byId("stamp").hidden = false;
  byId("stamp").dataset.tone = isDone ? "good" : "warn";
  put("stamp", isDone ? "REVIEWED" : "DRAFT");
  byId("meter").setAttribute("aria-valuemax", all);
  byId("meter").setAttribute("aria-valuenow", decided);
  byId("meter-share").style.width = `${all ? (100 * decided) / all : 0}%`;
  byId("finished").hidden = !isDone;
  if (isDone) put("finished-text", summary(keeping.cracks, reviewers));
  put("finished-command", keeping.survey.report_command);
  const last = actions[actions.length - 1];
  const undo = document.querySelector("[data-do=undo]");
  undo.disabled = !last;
  undo.title = last ? `Undo: ${done(last)} (${last.reviewer})` : "Nothing to undo";
}

function renew() {
  if (!keeping.survey) return;
  const chosen = crack();
  showProgress();
  put("reviewer-name", reviewer || "no name");
  const sheets = keeping.survey.sheets;
  showDetails(byId("details"), chosen, chosen && sheets[chosen.sheet], keeping.survey);
  byId("sheet-choice").hidden = sheets.length < 2;
  byId("sheet").value = String(sheet);
  document.querySelector(`input[name=view][value=${view}]`).checked = true;
  const stage = byId("stage");
  stage.dataset.show = view;
  stage.dataset.frame = view === "picture" && frame ? frame.number : "";
  stage.dataset.mode = mode ? mode.constructor.name : "";
  stage.dataset.crack = selected ?? "";
  showPlace(chosen);
  for (const button of document.querySelectorAll("[data-do]")) {
    const what = button.dataset.do;
    if (["undo", "looked"].includes(what)) continue;
    button.disabled = what === "draw" ? !frames.length
      : !chosen || (what === "reopen" && (!chosen.review.decision || chosen.review.origin === "drawn"))
        || (what === "merge" && keeping.cracks.size < 2);
    if (["confirm", "reject"].includes(what)) {
      button.setAttribute("aria-pressed", String(chosen?.review.decision === `${what}ed`));
    }
  }
  drawing.layers = layers();
  drawing.hidesLayers = hides || holds;
  byId("lines").setAttribute("aria-pressed", String(!hides));
  drawing.redraw();
  queue.mark(mode ? mode.marked() : []);
}

function showPlace(chosen) {
  const along = ofSheet();
  const at = along.indexOf(frame);
  const isPicture = view === "picture";
  put("frame-at", isPicture && at >= 0 ? `${at + 1} of ${along.length}` : `– of ${along.length}`);
  const seen = showing.findIndex((each) => each.frame === frame);
  put("seen-at", !chosen ? "–" : isPicture && seen >= 0 ? `${seen + 1} of ${showing.length}` : `– of ${showing.length}`);
  byId("frame-before").disabled = !along.length || (isPicture && at === 0);
  byId("frame-after").disabled = !along.length || (isPicture && at === along.length - 1);
  byId("seen-before").disabled = byId("seen-after").disabled = !showing.length || (isPicture && seen >= 0 && showing.length < 2);
  let caption = "";
  if (!isPicture) {
    caption = keeping.survey.sheets.length > 1 ? `Map of sheet ${sheet}` : "Map";
    if (keeping.survey.sheets[sheet]?.map) caption += ": click a crack to choose it, elsewhere to see the picture of that place";
  } else if (frame) {
    const share = seen >= 0 ? showing[seen].share : 0;
    const shows = !chosen ? ""
      : share > 0.995 ? `, all of crack ${chosen.id}`
        : share ? `, ${Math.max(1, Math.round(100 * share))} % of crack ${chosen.id}` : `, without crack ${chosen.id}`;
    const best = chosen?.best?.frame === frame.number ? ", its best picture" : "";
    caption = frame.isCutOut
      ? `Crack ${chosen?.id ?? ""} cut out of frame ${frame.name}, its best picture; the whole frame was not kept`
      : `Frame ${frame.name}${shows}${best}`;
  }
  put("caption", caption);
  const [sign, word] = chosen ? stateWords(chosen) : ["", ""];
  put("brief", chosen ? `Crack ${chosen.id}: ${sign} ${word}, ${length(chosen)[0]} long, ${meanWidth(chosen)[0]}${width(chosen, "mean") ? " wide" : ""}` : "");
  byId("canvas").setAttribute("aria-label", `${caption}${chosen ? `. Crack ${chosen.id}, ${word}` : ""}`);
}

// ---- modes

const page = {
  get crack() { return crack(); },
  get cracks() { return keeping.cracks; },
  get survey() { return keeping.survey; },
  get revision() { return keeping.progress.revision; },
  get frame() { return frame; },
  get placing() { return placing(); },
  get scale() { return drawing.view.scale; },
  get centre() { return drawing.centre; },
  get mmPerPixel() { return keeping.survey.sheets[sheet]?.mm_per_px ?? null; },
  sees(point) {
    const place = placing();
    const there = moved(point, place.fromSheet);
    if (!there || !inside(there, place)) return false;
    const [x, y] = drawing.toScreen(there);
    return x > 0 && y > 0 && x < drawing.box[0] && y < drawing.box[1];
  },
  reveal: (point) => drawing.reveal(point),
  crackAt,
  idOf(word) {
    if (keeping.cracks.has(word)) return word;
    return /^\d+$/.test(word) && keeping.cracks.has(Number(word)) ? Number(word) : null;
  },
  send,
  refuse,
  leave: () => leave(),
  button,
  // The mode has something else to show; a place of the sheet is kept in sight.
  changed(point) {
    put("prompt-title", mode.title);
    put("prompt-hint", mode.hint);
    renew();
    const there = point && moved(point, placing().fromSheet);
    if (there) drawing.reveal(there);
  },
};

function button(text, onPress, className, key, label) {
  const made_ = made("button", text, `button slim ${className}`.trim());
  made_.type = "button";
  if (label) made_.setAttribute("aria-label", label);
  if (key) made_.append(made("kbd", key));
  made_.addEventListener("click", () => onPress());
  return made_;
}

let lastUndone = "";

function begin(next) {
  if (mode) leave(false);
  mode = next;
  refuse("");
  byId("prompt-body").replaceChildren();
  mode.body(byId("prompt-body"));
  byId("prompt-buttons").replaceChildren(...mode.buttons.map(([text, act, className = "", key, label]) =>
    button(text, act, className, key, label)));
  byId("prompt").hidden = false;
  document.body.dataset.mode = "yes";
  page.changed();
  home();
  if (isNarrow() && mode.draws) byId("stage").scrollIntoView({ block: "start" });
}

function leave(goesHome = true) {
  mode = null;
  byId("prompt").hidden = true;
  document.body.dataset.mode = "no";
  if (goesHome) refuse("");
  home();
  renew();
}

// Entered points and text are not lost by mistake.
function canLeave() {
  if (!mode?.isBegun) return true;
  refuse("An action is in progress: finish it, or cancel it with Esc.");
  return false;
}

// Where the focus is as long as nothing else has it.
function home() {
  if (document.querySelector("dialog[open]")) return;
  const place = mode ? mode.focus ?? byId("prompt") : byId("queue");
  place.focus({ preventScroll: true });
}

const ACTS = {
  confirm: () => send({ action: "confirm", crack: selected }),
  reject: () => begin(new Rejecting(page)),
  reopen: () => send({ action: "reopen", crack: selected }),
  gauge: () => begin(new Gauging(page)),
  tags: () => begin(new Tagging(page)),
  note: () => begin(new Noting(page)),
  async split() {
    const chosen = crack();
    const shows = showing.filter((each) => !each.frame.isCutOut).map((each) => each.frame);
    if (view === "map" || !shows.includes(frame)) await showFrame(shows.includes(bestFrame(chosen)) ? bestFrame(chosen) : shows[0] ?? bestFrame(chosen));
    if (!frame || frame.isCutOut) refuse("There is no picture in which to select a place.");
    else begin(new Splitting(page));
  },
  merge: () => begin(new Merging(page)),
  looked: () => send({ action: "looked" }),
  async draw() {
    const next = wholeFrame();
    if (view === "map" || frame !== next) await showFrame(next);
    if (!frame) refuse("There is no picture to draw in.");
    else begin(new Pen(page));
  },
  undo() {
    const { actions, revision } = keeping.progress;
    const last = actions[actions.length - 1];
    if (!last) {
      refuse("There are no actions yet.");
      return;
    }
    lastUndone = done(last);
    if (last.reviewer !== reviewer) begin(new Undoing(page, lastUndone, last.reviewer));
    else send({ action: "undo", revision });
  },
  next: () => beside(1),
  previous: () => beside(-1),
};

function act(what) {
  const asked = document.querySelector(`[data-do=${what}]`);
  if (asked.disabled) return;
  if (!canLeave()) return;
  if (mode) leave(false);
  ACTS[what]();
}

function beside(step) {
  const id = queue.beside(selected, step);
  if (id !== null) choose(id);
  else refuse(step > 0 ? "This is the last crack in the list." : "This is the first crack in the list.");
}

for (const each of document.querySelectorAll("[data-do]")) {
  each.addEventListener("click", () => act(each.dataset.do));
}

// A button that was clicked does not keep the focus: a press of the space bar is not to decide on
// the next crack, too.
document.addEventListener("click", (event) => {
  const clicked = event.target.closest("button");
  if (event.detail && clicked && !clicked.closest("dialog") && clicked === document.activeElement) home();
});
let isByPointer = false;
document.addEventListener("pointerdown", () => { isByPointer = true; }, true);
document.addEventListener("keydown", () => { isByPointer = false; }, true);
document.addEventListener("change", (event) => {
  if (isByPointer && event.target.matches("select, input[type=radio]")) home();
});

// ---- looking

// Whether the picture may change; a choice of cracks goes on in others.
function mayLookElsewhere() {
  if (mode instanceof Merging) return true;
  if (!canLeave()) return false;
  if (mode) leave();
  return true;
}

function otherFrame(list, step) {
  if (!mayLookElsewhere()) return;
  if (frame?.isCutOut && !list.includes(frame)) {
    showFrame(wholeFrame());
    return;
  }
  const at = view === "picture" ? list.indexOf(frame) : -1;
  const next = at < 0 ? (view === "picture" ? list[0] : frame && list.includes(frame) ? frame : list[0]) : list[at + step];
  if (next) showFrame(next);
}

// The frame of the crack that comes next in their order, also from one that does not show it.
function otherOfCrack(step) {
  const list = showing.map((each) => each.frame);
  if (!list.length || list.includes(frame) || view === "map") {
    const at = list.indexOf(frame);
    if (view === "picture" && at >= 0) otherFrame(list, at + step < 0 ? list.length - 1 : at + step >= list.length ? -at : step);
    else otherFrame(list, step);
    return;
  }
  const beyond = list.filter((each) => (step > 0 ? each.number > frame.number : each.number < frame.number));
  if (mayLookElsewhere()) showFrame(beyond[step > 0 ? 0 : beyond.length - 1] ?? list[0]);
}

function toggleWhole() {
  if (isWhole && crack() && placing() && view === "picture") showCrack();
  else {
    drawing.whole();
    isWhole = true;
  }
}

function setView(next) {
  if (next === view || !mayLookElsewhere()) {
    renew();
    return;
  }
  if (next === "map") showMap();
  else showFrame(frame && frame.sheet === sheet ? frame
    : crack()?.sheet === sheet ? bestFrame(crack()) : ofSheet()[0] ?? null);
}

function hide(now) {
  hides = now;
  renew();
}

const LOOKS = {
  h: () => hide(!hides),
  v: () => setView(view === "map" ? "picture" : "map"),
  "[": () => otherFrame(ofSheet(), -1),
  "]": () => otherFrame(ofSheet(), 1),
  Home: () => choose(queue.ids[0] ?? null),
  End: () => choose(queue.ids[queue.ids.length - 1] ?? null),
  PageUp: () => otherFrame(ofSheet(), -1),
  PageDown: () => otherFrame(ofSheet(), 1),
  ",": () => otherOfCrack(-1),
  ".": () => otherOfCrack(1),
  "+": () => drawing.zoom(ZOOM_STEP),
  "=": () => drawing.zoom(ZOOM_STEP),
  "-": () => drawing.zoom(1 / ZOOM_STEP),
  0: toggleWhole,
  "?": () => byId("help").showModal(),
};
const LETTERS = {
  c: "confirm", l: "looked", r: "reject", o: "reopen", g: "gauge", t: "tags", n: "note", s: "split", m: "merge",
  d: "draw", u: "undo", j: "next", k: "previous",
};
const PANS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

document.addEventListener("keydown", (event) => {
  if (onKey(event)) event.preventDefault();
});

function onKey(event) {
  // On some keyboards [ and ] need AltGr, which says Ctrl and Alt as well.
  const isAltGr = event.getModifierState("AltGraph");
  if (!keeping.survey || document.querySelector("dialog[open]") || (event.altKey && !isAltGr) || event.isComposing) return false;
  const target = event.target;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const writes = target.matches("input:not([type=radio]), textarea");
  if (event.key === "Escape" && mode) {
    mode.leave();
    return true;
  }
  if (writes && mode && key === "Enter" && !event.shiftKey) {
    mode.submit();
    return true;
  }
  if (writes || target.matches("select")) return false;
  if ((event.ctrlKey || event.metaKey) && !isAltGr) {
    if (key !== "z" || event.shiftKey || mode) return false;
    act("undo");
    return true;
  }
  const presses = target.closest("button, input, a") && (key === "Enter" || key === " ");
  if (presses) return false;
  if (mode) {
    if (event.repeat && !(key in PANS) && key !== "Backspace") return true;
    const isTaken = mode.key(event);
    if (isTaken !== false) return isTaken === true;
    if (key === "Enter") {
      mode.submit();
      return true;
    }
    if (mode instanceof Tagging && key in LETTERS) leave();
    else {
      if (["h", "+", "=", "-", "0"].includes(key)) LOOKS[key]();
      else if (mode instanceof Merging && key in LOOKS) LOOKS[key]();
      return key in LOOKS || key in LETTERS || key === " ";
    }
  }
  if (key === " ") {
    if (!event.repeat) hold(true);
    return true;
  }
  if (key in PANS) return arrow(event, target);
  if (key in LOOKS) {
    LOOKS[key]();
    return true;
  }
  if (key in LETTERS) {
    if (!event.repeat || key === "j" || key === "k") act(LETTERS[key]);
    return true;
  }
  return false;
}

function arrow(event, target) {
  if (target.matches("input")) return false;
  const [x, y] = PANS[event.key];
  if (x || event.shiftKey || target === byId("canvas")) drawing.pan(PAN_PX * x, PAN_PX * y);
  else beside(-y);
  return true;
}

function hold(now) {
  if (holds === now) return;
  holds = now;
  renew();
}

document.addEventListener("keyup", (event) => { if (event.key === " ") hold(false); });
addEventListener("blur", () => hold(false));
addEventListener("beforeunload", (event) => { if (mode?.isBegun || failed || keeping.busy) event.preventDefault(); });

const looks = (id, key) => byId(id).addEventListener("click", () => LOOKS[key]());
looks("lines", "h");
looks("frame-before", "[");
looks("frame-after", "]");
looks("seen-before", ",");
looks("seen-after", ".");
looks("zoom-in", "+");
looks("zoom-out", "-");
looks("zoom-whole", "0");
looks("help-open", "?");
byId("help-close").addEventListener("click", () => byId("help").close());
byId("help").addEventListener("close", home);
for (const radio of document.querySelectorAll("input[name=view]")) {
  radio.addEventListener("change", () => setView(radio.value));
}
byId("sheet").addEventListener("change", (event) => {
  if (!mayLookElsewhere()) {
    renew();
    return;
  }
  sheet = Number(event.target.value);
  if (view === "map") showMap();
  else showFrame(ofSheet()[0] ?? null);
});
byId("filter").addEventListener("change", (event) => {
  queue.filter = event.target.value;
  update();
  queue.select(selected);
});
byId("order").addEventListener("change", (event) => {
  queue.order = event.target.value;
  update();
  queue.select(selected);
});
byId("finished-copy").addEventListener("click", async () => {
  const copied = await navigator.clipboard?.writeText(byId("finished-command").textContent).then(() => true, () => false);
  tell(copied ? "Command copied" : "Copying failed; select the command instead", copied ? "good" : "warn");
});

// ---- start

async function start() {
  try {
    await keeping.open();
  } catch (error) {
    put("problem-text", sentence(error.message));
    byId("problem").hidden = false;
    return;
  }
  forgetProblem();
  const { survey, progress } = keeping;
  frames = survey.frames.map(placed);
  put("run", survey.run);
  byId("run").title = [survey.source, survey.started_at && when(survey.started_at)].filter(Boolean).join(", ");
  document.title = `${survey.run} – edgecrack review`;
  byId("sheet").replaceChildren(...survey.sheets.map((each) => {
    const option = made("option", `Sheet ${each.number} (${counted(each.frame_count, "frame")})`);
    option.value = each.number;
    return option;
  }));
  wasDone = progress.done;
  update();
  const first = progress.open[0] ?? queue.ids[0] ?? null;
  choose(first);
  if (first === null) showFrame(frames[0] ?? null);
  document.body.dataset.ready = "yes";
  home();
  if (progress.stale) {
    tell(`${counted(progress.stale, "earlier action")} did not fit this survey any more`, "warn");
  }
  if (!reviewer) askName();
}

start();
