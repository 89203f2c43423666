// Where cracks run in the picture or on the map that is shown, as lines to be drawn.

import { bounds, evenly, inside, moved, movedLines, nearestOnLine, product } from "./geometry.js";
import { stateOf, stateWords } from "./words.js";

export const CHOSEN = "#ffb224";
export const OTHER = "#7fd4ff";
export const MARKED = "#ff7ad9";
export const PEN = "#5dffb0";
const FAR_PX = 14;
const GAP_DASHES = [7, 7];

// A picture that lies on a sheet: a frame, or the sheet's map.
export function frameView(frame) {
  return { frame, sheet: frame.sheet, width: frame.width, height: frame.height, fromSheet: frame.fromSheet, toSheet: frame.to_sheet };
}

// A crack's lines in a view: those of its best picture as they were seen in it, and of the rest of
// its course what is not among them.
export function courseIn(crack, view, exact = true) {
  const lines = movedLines(crack.lines, view.fromSheet);
  const gaps = movedLines(crack.gaps, view.fromSheet);
  const best = crack.best;
  if (!exact || !view.frame || !best || best.frame !== view.frame.number || best.points.length < 2) {
    return { lines, gaps };
  }
  const rest = [];
  for (const line of evenly(lines, 400)) {
    let piece = [];
    for (const point of line) {
      if (inside(point, view) && nearestOnLine(best.points, point).away > FAR_PX) {
        piece.push(point);
        continue;
      }
      if (piece.length > 2) rest.push(piece);
      piece = [];
    }
    if (piece.length > 2) rest.push(piece);
  }
  return { lines: [best.points, ...rest], gaps };
}

// Whether any of a crack is in a view.
export const isIn = (lines, view) => lines.some((line) => line.some((point) => inside(point, view)));

// The box around what a view has of lines; null where that is nothing.
export const boxIn = (lines, view) => bounds(evenly(lines, 400).flat().filter((point) => inside(point, view)));

function label(crack, lines, view, text, colour, strong) {
  const points = lines.flat().filter((point) => inside(point, view));
  return points.length ? [{ label: text, at: points[Math.floor(points.length / 2)], colour, strong }] : [];
}

export function chosenLayers(crack, view, exact) {
  const { lines, gaps } = courseIn(crack, view, exact);
  return [
    ...gaps.map((line) => ({ line, colour: CHOSEN, thick: 2, dashes: GAP_DASHES })),
    ...lines.map((line) => ({ line, colour: CHOSEN, thick: 2.5 })),
    ...label(crack, lines, view, String(crack.id), CHOSEN, true),
  ];
}

export function otherLayers(crack, view, isMarked) {
  const lines = movedLines(crack.lines, view.fromSheet);
  if (!isIn(lines, view)) return [];
  const colour = isMarked ? MARKED : OTHER;
  const state = stateOf(crack);
  const dashes = state === "unconfirmed" ? [3, 4] : state === "rejected" ? [8, 5] : [];
  const sign = state === "open" ? "" : ` ${stateWords(crack)[0]}`;
  return [
    ...lines.map((line) => ({ line, colour, thick: isMarked ? 3 : 1.25, dashes, casing: isMarked })),
    ...label(crack, lines, view, `${crack.id}${sign}`, colour, isMarked),
  ];
}

// The border of a frame on a map.
export function border(frame, view) {
  const matrix = product(view.fromSheet, frame.to_sheet);
  const { width, height } = frame;
  const corners = [[0, 0], [width, 0], [width, height], [0, height], [0, 0]].map((each) => moved(each, matrix));
  return corners.every(Boolean) ? [{ line: corners, colour: "#ffffff", thick: 1.25, dashes: [5, 5] }] : [];
}
