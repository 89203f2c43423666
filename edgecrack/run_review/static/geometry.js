// Places on sheets, in frames and on maps, and lengths along lines.
// A place is [x, y]; a matrix has three rows of three.

export function inverse(m) {
  const [[a, b, c], [d, e, f], [g, h, i]] = m;
  const A = e * i - f * h, B = f * g - d * i, C = d * h - e * g;
  const determinant = a * A + b * B + c * C;
  return [
    [A, c * h - b * i, b * f - c * e],
    [B, a * i - c * g, c * d - a * f],
    [C, b * g - a * h, a * e - b * d],
  ].map((row) => row.map((value) => value / determinant));
}

// null behind the camera.
export function moved([x, y], m) {
  const depth = m[2][0] * x + m[2][1] * y + m[2][2];
  if (!(depth > 0)) return null;
  return [(m[0][0] * x + m[0][1] * y + m[0][2]) / depth, (m[1][0] * x + m[1][1] * y + m[1][2]) / depth];
}

// A frame of the survey with the way back from the sheet.
export function placed(frame) {
  let fromSheet = inverse(frame.to_sheet);
  const [height, width] = frame.hw;
  const toSheet = frame.to_sheet;
  const centre = [width / 2, height / 2, 1];
  const onSheet = toSheet.map((row) => row[0] * centre[0] + row[1] * centre[1] + row[2]);
  const depth = fromSheet[2][0] * onSheet[0] + fromSheet[2][1] * onSheet[1] + fromSheet[2][2] * onSheet[2];
  // The frame's own centre lies before the camera, whatever sign the matrix came with.
  if (depth / onSheet[2] < 0) fromSheet = fromSheet.map((row) => row.map((value) => -value));
  return { ...frame, height, width, fromSheet };
}

export const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

export function lengthOf(line) {
  let sum = 0;
  for (let at = 1; at < line.length; at += 1) sum += distance(line[at - 1], line[at]);
  return sum;
}

export function pointAlong(line, along) {
  let left = Math.max(0, along);
  for (let at = 1; at < line.length; at += 1) {
    const step = distance(line[at - 1], line[at]);
    if (left <= step && step > 0) {
      const share = left / step;
      return [0, 1].map((axis) => line[at - 1][axis] + share * (line[at][axis] - line[at - 1][axis]));
    }
    left -= step;
  }
  return line[line.length - 1];
}

// Points along lines, as many as fit at equal distances, so that a share of them is a share of
// the length.
export function evenly(lines, most = 160) {
  const total = lines.reduce((sum, line) => sum + lengthOf(line), 0);
  const step = Math.max(total / most, 1e-6);
  return lines.map((line) => {
    const length = lengthOf(line);
    const count = Math.max(1, Math.round(length / step));
    return Array.from({ length: count + 1 }, (_, at) => pointAlong(line, (length * at) / count));
  });
}

export function nearestOnLine(line, place) {
  let best = { away: Infinity, along: 0, place: line[0] };
  let before = 0;
  for (let at = 1; at < line.length; at += 1) {
    const [a, b] = [line[at - 1], line[at]];
    const step = distance(a, b);
    const share = step === 0 ? 0 : Math.min(1, Math.max(0,
      ((place[0] - a[0]) * (b[0] - a[0]) + (place[1] - a[1]) * (b[1] - a[1])) / step ** 2));
    const foot = [a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])];
    const away = distance(foot, place);
    if (away < best.away) best = { away, along: before + share * step, place: foot };
    before += step;
  }
  if (line.length === 1) best.away = distance(line[0], place);
  return best;
}

// { line, along, place, away } of the nearest of several lines.
export function nearest(lines, place) {
  let best = { away: Infinity };
  lines.forEach((line, number) => {
    const found = nearestOnLine(line, place);
    if (found.away < best.away) best = { line: number, ...found };
  });
  return best;
}

export function inside([x, y], frame) {
  return x >= 0 && y >= 0 && x <= frame.width && y <= frame.height;
}

// The pieces of lines that a matrix brings into a picture's plane; broken behind the camera.
export function movedLines(lines, matrix) {
  const pieces = [];
  for (const line of lines) {
    let piece = [];
    for (const point of line) {
      const there = moved(point, matrix);
      if (there) piece.push(there);
      else {
        if (piece.length > 1) pieces.push(piece);
        piece = [];
      }
    }
    if (piece.length > 1) pieces.push(piece);
  }
  return pieces;
}

// What of a segment lies in a picture: [from, to] as shares of it, or null.
function within(a, b, { width, height }) {
  let from = 0;
  let to = 1;
  const way = [b[0] - a[0], b[1] - a[1]];
  for (const [step, low, high] of [[way[0], -a[0], width - a[0]], [way[1], -a[1], height - a[1]]]) {
    if (step === 0) {
      if (low > 0 || high < 0) return null;
      continue;
    }
    const [first, second] = step > 0 ? [low / step, high / step] : [high / step, low / step];
    from = Math.max(from, first);
    to = Math.min(to, second);
  }
  return from <= to ? [from, to] : null;
}

// The pieces of lines that lie in a picture, with points not further apart than `step` px.
export function insidePieces(lines, picture, step = 4) {
  const pieces = [];
  for (const line of lines) {
    let piece = [];
    for (let at = 1; at < line.length; at += 1) {
      const [a, b] = [line[at - 1], line[at]];
      const part = within(a, b, picture);
      if (part && part[0] > 0 && piece.length) {
        pieces.push(piece);
        piece = [];
      }
      if (!part) continue;
      const [from, to] = part;
      const count = Math.max(1, Math.ceil(((to - from) * distance(a, b)) / step));
      for (let number = piece.length ? 1 : 0; number <= count; number += 1) {
        const share = from + ((to - from) * number) / count;
        piece.push([a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])]);
      }
      if (to < 1) {
        pieces.push(piece);
        piece = [];
      }
    }
    if (piece.length) pieces.push(piece);
  }
  return pieces;
}

// [{ frame, share }] of the frames that show a part of a crack, in the frames' order.
export function framesShowing(crack, frames) {
  const points = evenly(crack.lines).flat();
  const found = [];
  for (const frame of frames) {
    if (frame.sheet !== crack.sheet) continue;
    let seen = 0;
    for (const point of points) {
      const there = moved(point, frame.fromSheet);
      if (there && inside(there, frame)) seen += 1;
    }
    if (seen) found.push({ frame, share: seen / points.length });
  }
  return found;
}

// The frame that shows a place of a sheet best: in fine resolution, and not at its border.
export function frameAt(place, sheet, frames) {
  let best = null;
  let highest = 0;
  for (const frame of frames) {
    if (frame.sheet !== sheet) continue;
    const there = moved(place, frame.fromSheet);
    if (!there || !inside(there, frame)) continue;
    const side = moved([place[0] + 1, place[1]], frame.fromSheet);
    const fineness = side ? distance(there, side) : 0;
    const border = Math.min(
      there[0] / frame.width, 1 - there[0] / frame.width,
      there[1] / frame.height, 1 - there[1] / frame.height);
    const score = fineness * (0.05 + Math.min(border, 0.25));
    if (score > highest) {
      highest = score;
      best = frame;
    }
  }
  return best;
}

// [left, top, right, bottom] of points, or null for none.
export function bounds(points) {
  if (!points.length) return null;
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}

// A matrix after another: first `second`, then `first`.
export function product(first, second) {
  return first.map((row) => [0, 1, 2].map((column) =>
    row.reduce((sum, value, at) => sum + value * second[at][column], 0)));
}
