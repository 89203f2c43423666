// The picture: takes a message apart, draws the frame, and draws the probability map over it.
// Look, opacity and threshold apply to the map already received, so immediately.

const HEADER_BYTES = 4;

export class Picture {
  constructor(frame, ignored, overlay) {
    this.frame = frame.getContext("2d", { alpha: false });
    this.ignored = ignored.getContext("2d");
    this.ignoredBytes = new Uint8Array();
    this.overlay = overlay.getContext("2d");
    this.look = "heat";
    this.level = 128;
    this.map = null;
    this.header = null;
  }

  // Draws one message and returns its header.
  async show(message) {
    const header = parseHeader(message);
    const start = HEADER_BYTES + new DataView(message).getUint32(0);
    const jpeg = new Blob([new Uint8Array(message, start, header.jpeg_bytes)], { type: "image/jpeg" });
    const mapStart = start + header.jpeg_bytes;
    const packed = new Blob([new Uint8Array(message, mapStart, header.map_bytes)]);
    const [bitmap, map] = await Promise.all([createImageBitmap(jpeg), unpack(packed)]);
    let resized = false;
    for (const context of [this.frame, this.ignored, this.overlay]) {
      const canvas = context.canvas;
      if (canvas.width !== header.width || canvas.height !== header.height) {
        canvas.width = header.width;
        canvas.height = header.height;
        resized = true;
      }
    }
    await this.drawIgnored(new Uint8Array(message, mapStart + header.map_bytes), header, resized);
    this.frame.drawImage(bitmap, 0, 0, header.width, header.height);
    bitmap.close();
    this.map = map;
    this.header = header;
    this.drawOverlay();
    return header;
  }

  // Darkens and hatches the ignored area in every look; it rarely changes.
  async drawIgnored(bytes, { width, height }, resized) {
    const same = bytes.length === this.ignoredBytes.length && bytes.every((byte, place) => byte === this.ignoredBytes[place]);
    if (same && !resized) return;
    this.ignoredBytes = bytes;
    this.ignored.clearRect(0, 0, width, height);
    if (!bytes.length) return;
    const picture = this.ignored.createImageData(width, height);
    hatch(await unpack(new Blob([bytes])), new Uint32Array(picture.data.buffer), width, height);
    this.ignored.putImageData(picture, 0, 0);
  }

  setLook(look) {
    this.look = look;
    this.drawOverlay();
  }

  setThreshold(threshold) {
    // As the robot rounds it.
    this.level = Math.max(1, Math.ceil(Number((255 * threshold).toFixed(6))));
    this.drawOverlay();
  }

  drawOverlay() {
    if (!this.map) return;
    const { width, height } = this.header;
    const picture = this.overlay.createImageData(width, height);
    const pixels = new Uint32Array(picture.data.buffer);
    if (this.look === "heat") heat(this.map, pixels, heatColours(this.level));
    else if (this.look === "contour") contour(this.map, pixels, width, height, this.level);
    this.overlay.putImageData(picture, 0, 0);
    // They belong to the robot's own threshold.
    if (this.look === "contour" && this.level === this.header.level) drawLines(this.overlay, this.header.lines, Math.min(width, height));
  }
}

// Along the middle of the cracks; points count from the corner of the first pixel, as a canvas does.
function drawLines(context, lines, side) {
  context.strokeStyle = "rgb(255, 255, 0)";
  context.lineWidth = Math.max(1, Math.round(side / 540));
  context.beginPath();
  for (const line of lines) line.forEach(([x, y], place) => (place ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

function parseHeader(message) {
  const length = new DataView(message).getUint32(0);
  return JSON.parse(new TextDecoder().decode(new Uint8Array(message, HEADER_BYTES, length)));
}

async function unpack(blob) {
  const stream = blob.stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Red, green, blue, alpha as one number, in the byte order of ImageData on every machine of today.
function rgba(red, green, blue, alpha) {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

// Probability 0, 1/4, ... 1. Bright and warm, since walls are neither.
const STOPS = [
  [70, 30, 150, 0],
  [150, 40, 190, 120],
  [240, 60, 90, 190],
  [255, 150, 30, 235],
  [255, 240, 120, 255],
];
const BELOW_THRESHOLD = 0.4;

function heatColours(level) {
  const colours = new Uint32Array(256);
  for (let value = 1; value < 256; value += 1) {
    const place = (value / 255) * (STOPS.length - 1);
    const index = Math.min(Math.floor(place), STOPS.length - 2);
    const share = place - index;
    const [red, green, blue, alpha] = STOPS[index].map(
      (from, channel) => Math.round(from + (STOPS[index + 1][channel] - from) * share));
    // Above the threshold is never fainter than below it.
    const shown = value >= level ? Math.max(alpha, 150) : alpha * BELOW_THRESHOLD;
    colours[value] = rgba(red, green, blue, Math.round(shown));
  }
  return colours;
}

function heat(map, pixels, colours) {
  for (let index = 0; index < map.length; index += 1) pixels[index] = colours[map[index]];
}

const SHADE = rgba(0, 0, 0, 128);
const HATCH = rgba(150, 150, 150, 255);
const HATCH_STEP = 14;

// As the robot draws it in its videos.
function hatch(bits, pixels, width, height) {
  const isIgnored = (x, y) => {
    const index = y * width + x;
    return ((bits[index >> 3] >> (7 - (index & 7))) & 1) === 1;
  };
  const scale = Math.max(1, Math.round(Math.min(width, height) / 540));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (!isIgnored(x, y)) continue;
      const atEdge = (x >= scale && !isIgnored(x - scale, y)) || (x + scale < width && !isIgnored(x + scale, y))
        || (y >= scale && !isIgnored(x, y - scale)) || (y + scale < height && !isIgnored(x, y + scale));
      pixels[y * width + x] = atEdge || (x + y) % (HATCH_STEP * scale) < scale ? HATCH : SHADE;
    }
  }
}

const INSIDE = rgba(255, 60, 40, 95);
const LINE = rgba(255, 178, 36, 255);

// The line runs outside the crack, so that the crack itself stays visible.
function contour(map, pixels, width, height, level) {
  const reach = Math.max(1, Math.round(Math.min(width, height) / 320));
  for (let y = 0, index = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, index += 1) {
      if (map[index] < level) continue;
      pixels[index] = INSIDE;
      const left = Math.max(x - reach, 0), right = Math.min(x + reach, width - 1);
      const top = Math.max(y - reach, 0), bottom = Math.min(y + reach, height - 1);
      for (let row = top; row <= bottom; row += 1) {
        for (let near = row * width + left; near <= row * width + right; near += 1) {
          if (map[near] < level) pixels[near] = LINE;
        }
      }
    }
  }
}
