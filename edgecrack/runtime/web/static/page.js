// The page: shows the robot's state and sends the user's switches.

import { Link } from "./link.js";
import { Picture } from "./picture.js";
import { Findings } from "./findings.js";
import { clock, count, bytes, get, moment, post, put } from "./format.js";

const byId = (id) => document.getElementById(id);
const picture = new Picture(byId("frame"), byId("ignored"), byId("overlay"));
const stage = byId("stage");

let status = null;
let link = null;
let connection = { state: "waiting", reason: "", until: 0, first: true };
let shownAt = null; // page time at which the shown picture was taken
let staleAfterMs = 2000;
let dragging = false;

// ---- what the robot sends

async function onPicture(message) {
  const header = await picture.show(message);
  shownAt = performance.now() - header.age_ms;
  staleAfterMs = header.stale_after_ms;
  stage.dataset.look = picture.look;
  stage.style.setProperty("--shape", `${header.width} / ${header.height}`);
  const taken = header.live
    ? clock(header.time_ms) : moment(header.capture_time_ns, header.media_time_ms, header.frame);
  const found = header.crack_pixels
    ? `crack ${count(header.crack_pixels)} px in ${header.regions} ${header.regions === 1 ? "region" : "regions"}`
    : "no crack";
  const seen = header.missed_ratio > 0.005 ? ` · ${Math.round(100 * header.inspected_ratio)} % inspected` : "";
  byId("ignored-share").hidden = !header.ignored_ratio;
  put("ignored-text", `${Math.max(1, Math.round(100 * header.ignored_ratio))} % ignored`);
  put("caption", `${taken} · ${found}${seen}`);
  put("crack-now", count(header.crack_pixels));
  put("crack-regions", header.crack_pixels ? found.slice(found.indexOf(" in ") + 1) : "none in view");
  byId("crack-now").closest(".card").dataset.tone = header.crack_pixels ? "found" : "";
  renew();
  return header.number;
}

function onStatus(now) {
  status = now;
  put("source", now.about.source ?? "");
  const origin = now.about.model_origin;
  put("model", `${now.about.model ?? ""}${origin && origin !== "given" ? ` (${origin})` : ""}`);
  byId("model").title = now.about.model_sha256 ? `sha256 ${now.about.model_sha256}` : "";
  byId("report").hidden = !now.report;
  if (now.report) byId("report").title = `Of ${now.report.run}, ${new Date(now.report.written_at).toLocaleString()}`;
  document.title = now.about.source ? `${now.about.source} – edgecrack` : "edgecrack";
  put("viewers", `${now.viewers.count} of ${now.viewers.limit} ${now.viewers.limit === 1 ? "viewer" : "viewers"}${now.about.version ? ` · ${now.about.version}` : ""}`);
  if (!dragging) setThreshold(now.threshold, "");
  staleAfterMs = now.picture.stale_after_ms;
  if (now.picture.age_ms !== null && stage.dataset.look !== "waiting") {
    shownAt = Math.max(shownAt ?? -Infinity, performance.now() - now.picture.age_ms);
  }
  showStats(now.stats, now.machine);
  showThrottling(now.stats, now.throttling);
  showSwitches(now);
  showWidths(now.measures, now.widths);
  findings.update(now.findings);
  updateEvents(now.events.count);
  renew();
}

// ---- state

function stateOf() {
  if (connection.state === "full") return ["FULL", "bad", "The page is full", `${sentence(connection.reason)} Retrying automatically.`];
  if (connection.state === "waiting") {
    const wait = Math.max(0, Math.ceil((connection.until - performance.now()) / 1000));
    const next = wait > 0 ? `Trying again in ${wait} s.` : "Trying again …";
    if (connection.first) return ["CONNECTING", "", "Connecting to the robot", ""];
    return ["OFFLINE", "bad", "No connection to the robot", `${connection.reason ? `${sentence(connection.reason)} ` : ""}${next}`];
  }
  if (!status) return ["CONNECTING", "", "Connecting to the robot", ""];
  const ageMs = shownAt === null ? null : performance.now() - shownAt;
  const since = ageMs === null ? "No picture so far." : `The last picture is ${age(ageMs)} old.`;
  if (status.picture.ended) return ["ENDED", "", "The run has ended", since];
  const source = status.stats.source_state;
  if (source === "lost") return ["LOST – RECONNECTING", "bad", "The camera is lost", `Retrying automatically. ${since}`];
  if (status.paused) return ["PAUSED", "warn", "Paused", `Nothing is inspected. ${since}`];
  if (source === "ended") return ["ENDED", "", "The source has ended", since];
  if (ageMs === null || source === "connecting") return ["CONNECTING", "", "Waiting for the first picture", "The robot's program runs; its source has delivered nothing yet."];
  if (ageMs > staleAfterMs) return ["NO PICTURE", "bad", `No picture for ${age(ageMs)}`, "What you see is the last one."];
  return [picture.header?.live === false ? "REPLAY" : "LIVE", "good", "", ""];
}

const age = (milliseconds) => milliseconds < 60000
  ? `${(milliseconds / 1000).toFixed(1)} s` : `${Math.floor(milliseconds / 60000)} min ${Math.floor(milliseconds / 1000) % 60} s`;
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

function renew() {
  const [name, tone, title, text] = stateOf();
  put("state", name);
  byId("state").dataset.tone = tone;
  document.body.dataset.fresh = title ? "no" : "yes";
  document.body.dataset.connection = connection.state;
  byId("veil").hidden = !title;
  put("veil-title", title);
  put("veil-text", text);
  byId("retry").hidden = !["FULL", "OFFLINE"].includes(name);
  const offline = connection.state !== "open";
  for (const id of ["pause", "snapshot", "threshold"]) byId(id).disabled = offline;
  byId("record").disabled = offline || !status?.recording;
  const problem = status?.recording && !status.recording.active && status.recording.problem;
  const fallback = status?.about.model_fallback;
  byId("alert").hidden = (!problem && !fallback) || offline;
  put("alert", [problem ? `Recording stopped: ${problem}` : "", fallback ? sentence(fallback) : ""].filter(Boolean).join(" · "));
  byId("recording").hidden = offline || !status?.recording?.active;
  byId("throttled").hidden = offline || status?.stats.throttling !== "throttled";
  byId("shedding").hidden = offline || !status || status.stats.shedding === "nothing";
}

// ---- widths

const SHOWN_CRACKS = 3;

// Of the newest measured frame; it lags behind the picture where measuring takes longer.
function showWidths(measures, widths) {
  document.documentElement.dataset.measures = measures ? "yes" : "no";
  byId("measured").hidden = !measures;
  const slow = [widths?.too_fast && "TOO FAST", widths?.too_far && "TOO FAR"].filter(Boolean);
  byId("too").hidden = !slow.length;
  put("too", slow.join(" · "));
  byId("too").title = [
    widths?.too_fast ? "The picture has motion blur: move more slowly or shorten the exposure." : "",
    widths?.too_far ? "A crack of 0.3 mm is narrower than a pixel: move closer." : "",
  ].join(" ").trim();
  if (!measures) return;
  if (!widths) {
    put("measured-fit", "nothing measured yet");
    return;
  }
  const fit = widths.verdict === "measure";
  byId("measured-fit").dataset.tone = fit ? "good" : "warn";
  put("measured-fit", fit ? "fit to measure" : "not fit to measure");
  const ago = widths.age_ms > 1500 ? `, ${age(widths.age_ms)} ago` : "";
  put("measured-title", `Widths, ${widths.count} ${widths.count === 1 ? "crack" : "cracks"}${ago}`);
  const items = widths.cracks.slice(0, SHOWN_CRACKS).map((crack) => {
    const item = document.createElement("li");
    const width = document.createElement("b");
    width.textContent = crack.width;
    const length = document.createElement("span");
    length.textContent = `${crack.length} long`;
    item.append(width, length);
    return item;
  });
  const more = widths.count - items.length;
  if (more > 0) items.push(line(`and ${more} shorter`));
  if (!widths.count) items.push(line("no crack in view"));
  byId("measured-cracks").replaceChildren(...items);
  const notes = [widths.reason, widths.no_scale && `no millimetres: ${widths.no_scale}`, widths.site];
  const note = notes.filter(Boolean).join("; ");
  byId("measured-note").hidden = !note;
  put("measured-note", note && sentence(note));
}

function line(text) {
  const item = document.createElement("li");
  item.className = "none";
  item.textContent = text;
  return item;
}

// ---- coverage

// How much of the wall was seen, in views of one frame where there is no scale, and how well.
function seenSoFar(coverage) {
  if (!coverage || !coverage.frames) return "";
  const size = coverage.square_metres === null
    ? `${coverage.frames.toFixed(1)} views` : `${coverage.square_metres.toFixed(2)} m²`;
  const share = (name) => `${Math.round(100 * coverage.shares[name])} %`;
  return `seen ${size}: ${share("measure")} fit to measure, ${share("detect")} to detect, ${share("unfit")} unfit`;
}

// ---- figures

const history = { fps: [], latency: [] };

function showStats(stats, machine) {
  const all = stats.frames + stats.drops + stats.skipped;
  put("fps", stats.fps.toFixed(1));
  put("fps-overall", `overall ${stats.fps_overall.toFixed(1)}`);
  put("latency", Math.round(stats.latency_p50_ms));
  put("latency-95", `p95 ${Math.round(stats.latency_p95_ms)} ms`);
  put("drops", count(stats.drops));
  put("skipped", stats.skipped ? `${count(stats.skipped)} skipped` : all ? `${(100 * stats.drops / all).toFixed(1)} % of frames` : "");
  put("finding-count", count(status.findings.count));
  put("coverage", seenSoFar(status.coverage));
  put("crack-frames", count(stats.frames_with_cracks));
  put("crack-share", stats.frames ? `of ${count(stats.frames)} frames` : "");
  put("temperature", machine.temperature_c === null ? "–" : Math.round(machine.temperature_c));
  tone("temperature", machine.temperature_c, 85, 95);
  byId("temperature").nextElementSibling.hidden = machine.temperature_c === null;
  put("load", `${machine.temperature_c === null ? "no sensor · " : ""}CPU ${Math.round(machine.cpu_percent)} %`);
  put("memory", Math.round(machine.memory_percent));
  tone("memory", machine.memory_percent, 88, 95);
  put("resident", `program ${Math.round(machine.process_rss_mb)} MB`);
  const [free, unit] = bytes(machine.disk_free_bytes);
  put("disk", free);
  put("disk-unit", unit);
  tone("disk", machine.disk_free_bytes === null ? null : -machine.disk_free_bytes, -2e9, -5e8);
  spark("fps", stats.fps);
  spark("latency", stats.latency_p50_ms);
  put("shedding", `OVERLOADED: skipping ${stats.shedding}`);
}

// "Not reported" is not the same as "not throttled".
function showThrottling(stats, look) {
  const state = stats.throttling;
  const past = stats.throttle_episodes ? `throttled ${count(stats.throttle_episodes)} ${stats.throttle_episodes === 1 ? "time" : "times"}` : state;
  put("throttling", state === "throttled" ? "throttled now" : state === "unknown" ? "throttling unknown" : past);
  const reasons = (look?.evidence ?? []).map((each) => each.text).join("; ");
  const told = look?.told_by?.length ? `This machine reports: ${look.told_by.join(", ")}.`
    : "This machine does not report throttling.";
  byId("throttling").title = `${reasons ? `${sentence(reasons)} ` : ""}${told}`;
  if (state !== "throttled") return;
  byId("temperature").closest(".card").dataset.tone = "bad";
  byId("throttled").title = reasons ? sentence(reasons) : "";
  const figures = [heat(look?.temperature_c), clockOf(look), `${stats.fps.toFixed(1)} frames/s`];
  put("throttled", `THROTTLED: ${figures.filter(Boolean).join(", ")}`);
}

const heat = (celsius) => celsius === null || celsius === undefined ? "" : `${Math.round(celsius)} °C`;

function clockOf(look) {
  if (!look?.clock_mhz) return "";
  const rated = look.rated_mhz ? ` of ${(look.rated_mhz / 1000).toFixed(1)}` : "";
  return `${(look.clock_mhz / 1000).toFixed(1)}${rated} GHz`;
}

function tone(id, value, warn, bad) {
  byId(id).closest(".card").dataset.tone = value === null || value < warn ? "" : value < bad ? "warn" : "bad";
}

function spark(name, value) {
  const values = history[name];
  values.push(value);
  if (values.length > 60) values.shift();
  if (values.length < 6) return;
  const highest = Math.max(...values, 1e-6);
  const step = 100 / (values.length - 1);
  const points = values.map((each, index) => `${(index * step).toFixed(1)},${(23 - (22 * each) / highest).toFixed(1)}`);
  byId(`${name}-spark`).firstElementChild.setAttribute("points", points.join(" "));
}

let eventsSeen = -1;

async function updateEvents(total) {
  if (total === eventsSeen) return;
  eventsSeen = total;
  let events;
  try {
    ({ events } = await get("/api/events"));
  } catch {
    eventsSeen = -1; // the next state tries again
    return;
  }
  const items = events.slice(0, 50).map((event) => {
    const item = document.createElement("li");
    item.dataset.level = event.level;
    const time = document.createElement("time");
    time.textContent = clock(event.time_ns / 1e6);
    const text = document.createElement("span");
    text.textContent = event.message;
    item.append(time, text);
    return item;
  });
  if (items.length) byId("events").replaceChildren(...items);
}

// ---- switches

function showSwitches(now) {
  press("pause", now.paused, now.paused ? "Resume" : "Pause");
  const recording = now.recording;
  press("record", Boolean(recording?.active), recording?.active ? "Stop" : "Record");
  byId("record").title = recording ? "" : "Start the stream with --record FILE to record.";
  if (recording?.active) put("recording-text", `REC ${bytes(recording.bytes_written).join(" ")}`);
  put("disk-note", !recording?.active ? ""
    : recording.dropped ? `${count(recording.dropped)} not recorded` : `recording, part ${recording.parts}`);
}

function press(id, pressed, text) {
  byId(id).setAttribute("aria-pressed", String(pressed));
  byId(id).querySelector("span").textContent = text;
}

function toast(text, bad = false) {
  const box = byId("toast");
  box.textContent = text;
  box.dataset.tone = bad ? "bad" : "";
  box.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { box.hidden = true; }, bad ? 8000 : 3000);
}

// Sends a switch; a refusal shows the robot's message.
async function change(address, body, button) {
  if (button) button.disabled = true;
  try {
    const answer = await post(address, body);
    onStatus(await answer.json());
  } catch (error) {
    toast(error.message, true);
  } finally {
    if (button) button.disabled = false;
    renew();
  }
}

function setThreshold(value, note, noteTone = "") {
  const slider = byId("threshold");
  if (!dragging) slider.value = value;
  put("threshold-value", Number(value).toFixed(2));
  slider.setAttribute("aria-valuetext", Number(value).toFixed(2));
  picture.setThreshold(Number(value));
  put("threshold-note", note || "On release it becomes the robot's threshold, for the recording and all viewers.");
  byId("threshold-note").dataset.tone = noteTone;
}

let commit = 0;
byId("threshold").addEventListener("input", (event) => {
  dragging = true;
  clearTimeout(commit);
  setThreshold(event.target.value, `Preview. The robot still uses ${(status?.threshold ?? 0.5).toFixed(2)}; release to change it.`, "warn");
});
byId("threshold").addEventListener("change", (event) => {
  clearTimeout(commit);
  // Arrow keys release at each step.
  commit = setTimeout(async () => {
    await change("/api/threshold", { threshold: Number(event.target.value) });
    dragging = false;
    if (status) setThreshold(status.threshold, "");
  }, 300);
});

byId("opacity").addEventListener("input", (event) => {
  byId("overlay").style.opacity = event.target.value / 100;
  put("opacity-value", `${event.target.value} %`);
});
for (const radio of document.querySelectorAll("input[name=look]")) {
  radio.addEventListener("change", () => {
    picture.setLook(radio.value);
    byId("opacity").disabled = radio.value === "off";
  });
}
byId("pause").addEventListener("click", (event) =>
  change(status?.paused ? "/api/resume" : "/api/pause", {}, event.currentTarget));
byId("record").addEventListener("click", (event) =>
  change("/api/recording", { active: !status?.recording?.active }, event.currentTarget));
byId("snapshot").addEventListener("click", async (event) => {
  const button = event.currentTarget;
  button.disabled = true;
  try {
    const answer = await post("/api/snapshot", {});
    const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? "snapshot.jpg";
    findings.showSnapshot(await answer.blob(), name, Boolean(status?.saves_snapshots));
  } catch (error) {
    toast(error.message, true);
  } finally {
    button.disabled = false;
  }
});
byId("fullscreen").addEventListener("click", () =>
  document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen?.());
byId("fullscreen").hidden = !document.fullscreenEnabled;
byId("retry").addEventListener("click", () => link.retry());

// ---- start

byId("overlay").style.opacity = byId("opacity").value / 100;
const findings = new Findings(toast);
link = new Link({
  status: onStatus,
  picture: onPicture,
  change: (state, reason, waitMs) => {
    connection = { state, reason, until: performance.now() + waitMs, first: false };
    if (state === "open") eventsSeen = -1;
    renew();
  },
});
setInterval(renew, 200);
link.open();
