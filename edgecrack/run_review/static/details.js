// The machine's and the reviewer's data of a crack, side by side.

import { length, made, meanWidth, sentence, stateWords, when, width } from "./words.js";

const MACHINE = { confirmed: "a crack", unconfirmed: "an unconfirmed mark" };
const ORIGINS = {
  drawn: () => "Drawn by a reviewer.",
  split: (parents) => `A part of crack ${parents.join(", ")}. Its widths are those measured along this part.`,
  merged: (parents) => `Merged from cracks ${parents.join(" and ")}.`,
};

export function showDetails(box, crack, sheet, survey) {
  if (!crack) {
    box.replaceChildren();
    return;
  }
  const [sign, word] = stateWords(crack);
  const title = made("h2", `Crack ${crack.id}`);
  const state = made("span", "", "state");
  state.dataset.state = crack.is_open ? "open" : crack.review.decision ?? "unconfirmed";
  const mark = made("span", sign, "sign");
  mark.setAttribute("aria-hidden", "true");
  state.append(mark, made("span", word));
  const head = made("header");
  head.append(title, state);
  const parts = [head];
  const isDrawn = crack.review.origin === "drawn";
  const origin = ORIGINS[crack.review.origin];
  if (origin) parts.push(made("p", origin(crack.review.parents), "quiet"));
  parts.push(column("The reviewer says", reviewer(crack), "reviewer"), column(isDrawn ? "From the drawing" : "The machine says", machine(crack), "machine"));
  if (crack.length_mm === null) {
    parts.push(made("p", sheet.mm_per_px
      ? "Its length is in pixels: there is no scale at its place."
      : "Lengths and widths are in pixels: the run has no scale.", "quiet units"));
  }
  if (survey.sheets.length > 1) parts.push(made("p", `It is on sheet ${sheet.number}.`, "quiet"));
  if (survey.notes.length) {
    const notes = made("section");
    notes.append(made("h3", "Survey notes"), ...survey.notes.map((each) => made("p", sentence(each), "quiet")));
    parts.push(notes);
  }
  box.replaceChildren(...parts);
}

function column(title, facts, className) {
  const part = made("section", "", className);
  const list = made("dl");
  for (const [name, ...values] of facts) {
    const value = made("dd");
    for (const each of values) value.append(typeof each === "string" ? made("span", each) : each);
    list.append(made("dt", name), value);
  }
  part.append(made("h3", title), list);
  return part;
}

function machine(crack) {
  const facts = [];
  const small = (text) => (text ? made("small", text) : "");
  if (crack.review.machine) facts.push(["It is", MACHINE[crack.review.machine] ?? crack.review.machine]);
  const [long, longWithin] = length(crack);
  facts.push(["Length", long, small(longWithin)]);
  const [mean, within] = meanWidth(crack).map((text) => text.replace("width ", ""));
  facts.push(["Width, mean", crack.review.origin === "drawn" ? "not measured" : mean, small(within)]);
  const high = width(crack, "p95");
  if (high) facts.push(["95th percentile", high], ["Widest", width(crack, "max") ?? "–"]);
  if (crack.class) {
    const sure = made("small", `${Math.round(100 * crack.class.probability)} % sure, by ${crack.class.table}`);
    facts.push(["Class", crack.class.name, sure]);
  }
  if (crack.review.origin !== "drawn") {
    facts.push(["Seen in", `${crack.frames} of ${crack.views} frames`]);
    if (crack.confidence !== null) facts.push(["Mean probability", `${Math.round(100 * crack.confidence)} %`]);
  }
  return facts;
}

function reviewer(crack) {
  const review = crack.review;
  const facts = [];
  const said = crack.is_open ? "nothing yet" : review.decision ?? "nothing; not to be decided on";
  const by = review.decision ? made("small", `${review.reviewer}, ${when(review.at)}`) : "";
  facts.push(["Decision", review.reason ? `${said}: ${review.reason}` : said, by]);
  if (review.gauges.length) {
    facts.push(["Gauge", ...review.gauges.flatMap((each) =>
      [`${each.mm} mm`, made("small", `${each.reviewer}, ${when(each.at)}`)])]);
  }
  if (review.tags.length) facts.push(["Tags", review.tags.join(", ")]);
  if (review.note) facts.push(["Note", made("span", review.note, "note")]);
  return facts;
}

// What has been decided so far, as a sentence.
export function summary(cracks, reviewers) {
  const all = [...cracks.values()];
  const decided = (word) => all.filter((crack) => crack.review.decision === word);
  const rejected = decided("rejected");
  const reasons = new Map();
  for (const crack of rejected) {
    const reason = crack.review.reason || "no reason given";
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  const why = [...reasons].map(([reason, number]) => `${number} ${reason}`).join(", ");
  const drawn = all.filter((crack) => crack.review.origin === "drawn" && crack.review.decision === "confirmed").length;
  const left = all.filter((crack) => !crack.is_open && !crack.review.decision).length;
  const parts = [
    `${decided("confirmed").length} confirmed${drawn ? `, ${drawn} of them drawn` : ""}`,
    `${rejected.length} rejected${why ? ` (${why})` : ""}`,
  ];
  if (left) parts.push(`${left} unconfirmed ${left === 1 ? "mark" : "marks"} left aside`);
  return sentence(`${parts.join("; ")}${reviewers.length ? `; by ${reviewers.join(", ")}` : ""}`);
}

