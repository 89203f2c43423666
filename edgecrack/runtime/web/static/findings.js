// The strip of cracks, each once, and the dialog that shows one of them, or a snapshot, large.

import { count, get, moment, put } from "./format.js";

const byId = (id) => document.getElementById(id);
const first = (finding) => moment(finding.started_ns, finding.started_media_ms, finding.first_frame);

export class Findings {
  constructor(toast) {
    this.toast = toast;
    this.revision = null;
    this.list = [];
    this.confirmed = 0;
    this.open = 0; // number of the crack in the dialog
    byId("viewer-close").addEventListener("click", () => byId("viewer").close());
    byId("viewer-newer").addEventListener("click", () => this.step(-1));
    byId("viewer-older").addEventListener("click", () => this.step(1));
    byId("viewer").addEventListener("click", (event) => {
      if (event.target === byId("viewer")) byId("viewer").close(); // beside it
    });
    byId("viewer").addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") this.step(-1);
      if (event.key === "ArrowRight") this.step(1);
    });
  }

  async update({ revision }) {
    if (revision === this.revision) return;
    this.revision = revision;
    try {
      const answer = await get("/api/findings");
      this.list = answer.findings;
      this.confirmed = answer.confirmed;
    } catch {
      this.revision = null; // the next state tries again
      return;
    }
    this.draw();
  }

  draw() {
    const strip = byId("findings");
    const newest = this.list[0];
    put("finding-last", newest ? `${this.confirmed} confirmed` : "none so far");
    if (!newest) return;
    const kept = new Map([...strip.querySelectorAll("li[data-id]")].map((item) => [Number(item.dataset.id), item]));
    // Existing entries stay, to keep focus and scroll position.
    strip.replaceChildren(...this.list.map((finding) => this.item(finding, kept.get(finding.id))));
  }

  item(finding, item) {
    if (!item) {
      item = document.createElement("li");
      item.dataset.id = finding.id;
      item.innerHTML = '<button type="button" class="finding"><img alt=""><span></span><span></span></button>';
      item.firstChild.addEventListener("click", () => this.show(finding.id));
    }
    const button = item.firstChild;
    const [image, time, size] = button.children;
    const source = thumbnail(finding);
    if (image.dataset.source !== source) {
      image.dataset.source = source;
      const loaded = new Image(); // the old picture stays until the new one is here
      loaded.onload = () => { if (image.dataset.source === source) image.src = source; };
      loaded.src = source;
    }
    time.textContent = `${finding.id} · ${length(finding)}`;
    size.textContent = finding.measured?.width || place(finding.position) || first(finding);
    button.dataset.open = finding.closed ? "no" : "yes";
    button.dataset.status = finding.status;
    button.setAttribute("aria-label", `Crack ${finding.id}, ${finding.status}, ${length(finding)} long, ${size.textContent}`);
    return item;
  }

  show(id) {
    const finding = this.list.find((each) => each.id === id);
    if (!finding) return;
    this.open = id;
    const [top, right] = [finding.box[1], finding.box[2]];
    const facts = {
      First: first(finding),
      Last: finding.closed
        ? moment(finding.ended_ns, finding.ended_media_ms, finding.last_frame) : "still in view",
      Status: finding.status === "confirmed" ? "confirmed" : "not confirmed: too short, or seen too seldom",
      Frames: `${count(finding.frames)} of ${count(finding.views)} that show its place`,
      Length: length(finding),
      Width: finding.measured?.width || "not measured",
      "In best frame": `${right - finding.box[0]} × ${finding.box[3] - top} px, ${count(finding.crack_pixels)} px of crack`,
      "Best frame": `${finding.best_frame} (${finding.frame_hw[1]} × ${finding.frame_hw[0]})`,
      Threshold: finding.threshold.toFixed(2),
      ...positionFacts(finding.position),
    };
    this.present(`Crack ${id}`, thumbnail(finding), `crack-${id}.jpg`, facts, true);
  }

  showSnapshot(blob, name, saved) {
    this.open = 0;
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = URL.createObjectURL(blob);
    const facts = { "On the robot": saved ? name : "not saved; there is no folder for it" };
    this.present("Snapshot", this.address, name, facts, false);
  }

  present(title, source, name, facts, steps) {
    put("viewer-title", title);
    byId("viewer-image").src = source;
    byId("viewer-image").alt = title;
    byId("viewer-save").href = source;
    byId("viewer-save").download = name;
    byId("viewer-newer").hidden = byId("viewer-older").hidden = !steps;
    const place = this.list.findIndex((each) => each.id === this.open);
    byId("viewer-newer").disabled = place <= 0;
    byId("viewer-older").disabled = place >= this.list.length - 1;
    byId("viewer-facts").replaceChildren(...Object.entries(facts).map(([term, text]) => {
      const pair = document.createElement("div");
      pair.append(Object.assign(document.createElement("dt"), { textContent: term }),
        Object.assign(document.createElement("dd"), { textContent: text }));
      return pair;
    }));
    if (!byId("viewer").open) byId("viewer").showModal();
  }

  step(by) {
    const place = this.list.findIndex((each) => each.id === this.open);
    const next = place < 0 ? undefined : this.list[place + by];
    if (next) this.show(next.id);
  }
}

const length = (finding) => finding.measured?.length || `${count(finding.length_px)} px`;
const thumbnail = (finding) => `/api/findings/${finding.id}.jpg?frame=${finding.best_frame}`;

function place(position) {
  if (!position) return "";
  if (position.distance_m !== null) return `at ${position.distance_m.toFixed(1)} m`;
  if (position.latitude_deg !== null && position.longitude_deg !== null) {
    return `${position.latitude_deg.toFixed(5)}, ${position.longitude_deg.toFixed(5)}`;
  }
  return position.xyz_m ? position.xyz_m.map((each) => each.toFixed(1)).join(", ") : "";
}

function positionFacts(position) {
  if (!position) return {};
  const facts = {};
  if (position.distance_m !== null) facts.Distance = `${position.distance_m.toFixed(2)} m`;
  if (position.latitude_deg !== null && position.longitude_deg !== null) {
    facts.GNSS = `${position.latitude_deg.toFixed(7)}, ${position.longitude_deg.toFixed(7)}`;
  }
  if (position.xyz_m) facts.Position = `${position.xyz_m.map((each) => each.toFixed(2)).join(", ")} m`;
  return facts;
}
