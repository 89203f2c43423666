// A picture with zoom, pan and lines over it, in pixels of the picture and of the screen.

const MOST_ZOOM = 24;
const CLICK_PX = 6;
const KEPT_PICTURES = 12;
const MOST_LABELS = 200;

export class Drawing {
  // `on` has click(place in the picture, event), moved(place or null) and seen().
  constructor(canvas, on) {
    this.canvas = canvas;
    this.on = on;
    this.context = canvas.getContext("2d");
    this.picture = null; // an image, or null
    this.size = [1, 1]; // of the picture, also of one that is lost
    this.isPlaced = false; // whether that is known
    this.layers = [];
    this.hidesLayers = false;
    this.view = { scale: 1, x: 0, y: 0 };
    this.box = [1, 1];
    this.area = null; // what is to be shown again when the canvas changes its size
    this.pointers = new Map();
    this.pictures = new Map();
    this.wanted = "";
    this.due = false;
    new ResizeObserver(() => this.resized()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => on.moved(null));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  // ---- pictures

  // Loads a picture; returns false if there is none, and undefined if another one is wanted by now.
  async load(url, size) {
    // Lines of one picture are never shown over another.
    if (this.wanted !== url) this.picture = null;
    this.wanted = url;
    this.size = size ?? [1, 1];
    this.isPlaced = Boolean(size);
    const image = url === null ? null : await this.fetched(url);
    if (this.wanted !== url) return undefined;
    this.picture = image;
    if (image && !size) {
      this.size = [image.naturalWidth, image.naturalHeight];
      this.isPlaced = true;
    }
    this.redraw();
    return image !== null;
  }

  fetched(url) {
    const known = this.pictures.get(url);
    if (known) return known;
    const image = new Image();
    image.decoding = "async";
    image.src = url;
    const coming = image.decode().then(() => image, () => {
      this.pictures.delete(url);
      return null;
    });
    this.pictures.set(url, coming);
    if (this.pictures.size > KEPT_PICTURES) this.pictures.delete(this.pictures.keys().next().value);
    return coming;
  }

  // ---- what is shown

  // [left, top, right, bottom] in the picture; not nearer than `most`.
  show(area, most = MOST_ZOOM) {
    this.area = { area, most };
    const [width, height] = this.box;
    const [left, top, right, bottom] = area;
    const scale = Math.min(width / Math.max(right - left, 1), height / Math.max(bottom - top, 1), most);
    // As much of the picture as there is room for: nothing beside it where it could fill the canvas.
    const start = (room, length, middle) => (length <= room
      ? (room - length) / 2 : Math.min(0, Math.max(room - length, room / 2 - scale * middle)));
    this.view = {
      scale,
      x: start(width, scale * this.size[0], (left + right) / 2),
      y: start(height, scale * this.size[1], (top + bottom) / 2),
    };
    this.redraw();
  }

  whole() {
    this.show([0, 0, ...this.size]);
  }

  get leastZoom() {
    return Math.min(this.box[0] / this.size[0], this.box[1] / this.size[1]) / 2;
  }

  zoom(factor, at = [this.box[0] / 2, this.box[1] / 2]) {
    const scale = Math.min(MOST_ZOOM, Math.max(this.leastZoom, this.view.scale * factor));
    const share = scale / this.view.scale;
    this.place(scale, at[0] - share * (at[0] - this.view.x), at[1] - share * (at[1] - this.view.y));
  }

  pan(x, y) {
    this.place(this.view.scale, this.view.x + x, this.view.y + y);
  }

  // Some of the picture always stays in sight.
  place(scale, x, y) {
    const [width, height] = this.box;
    const margin = 60;
    this.area = null;
    this.view = {
      scale,
      x: Math.min(width - margin, Math.max(margin - scale * this.size[0], x)),
      y: Math.min(height - margin, Math.max(margin - scale * this.size[1], y)),
    };
    this.redraw();
  }

  // Moves the picture as little as needed, so that a place of it is in sight.
  reveal(place) {
    const [x, y] = this.toScreen(place);
    const margin = Math.min(48, this.box[0] / 4, this.box[1] / 4);
    const dx = Math.max(margin - x, 0) + Math.min(this.box[0] - margin - x, 0);
    const dy = Math.max(margin - y, 0) + Math.min(this.box[1] - margin - y, 0);
    if (dx || dy) this.pan(dx, dy);
  }

  toScreen([x, y]) {
    return [this.view.scale * x + this.view.x, this.view.scale * y + this.view.y];
  }

  toPicture([x, y]) {
    return [(x - this.view.x) / this.view.scale, (y - this.view.y) / this.view.scale];
  }

  get centre() {
    return this.toPicture([this.box[0] / 2, this.box[1] / 2]);
  }

  // ---- pointers

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  wheel(event) {
    event.preventDefault();
    const step = event.deltaMode === 1 ? 20 * event.deltaY : event.deltaY;
    this.zoom(Math.exp(-Math.max(-240, Math.min(240, step)) * (event.ctrlKey ? 0.01 : 0.002)), this.at(event));
  }

  down(event) {
    if (event.button > 1) return;
    this.canvas.setPointerCapture(event.pointerId);
    const at = this.at(event);
    this.pointers.set(event.pointerId, { at, from: at, drags: this.pointers.size > 0 });
    for (const pointer of this.pointers.values()) if (this.pointers.size > 1) pointer.drags = true;
  }

  move(event) {
    const pointer = this.pointers.get(event.pointerId);
    const at = this.at(event);
    if (!pointer) {
      this.on.moved(this.toPicture(at));
      return;
    }
    const others = [...this.pointers.values()].filter((each) => each !== pointer);
    const moves = Math.hypot(at[0] - pointer.from[0], at[1] - pointer.from[1]) > CLICK_PX;
    if (!pointer.drags && !moves) return;
    pointer.drags = true;
    if (others.length) {
      const [other] = others;
      const before = Math.hypot(pointer.at[0] - other.at[0], pointer.at[1] - other.at[1]);
      const now = Math.hypot(at[0] - other.at[0], at[1] - other.at[1]);
      const middle = [(at[0] + other.at[0]) / 2, (at[1] + other.at[1]) / 2];
      if (before > 0) this.zoom(now / before, middle);
      this.pan((at[0] - pointer.at[0]) / 2, (at[1] - pointer.at[1]) / 2);
    } else {
      this.pan(at[0] - pointer.at[0], at[1] - pointer.at[1]);
    }
    pointer.at = at;
  }

  up(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    // Where the finger or the pointer went down; a glove trembles.
    if (pointer && !pointer.drags && event.button === 0) this.on.click(this.toPicture(pointer.from), event);
  }

  // ---- painting

  resized() {
    const box = this.canvas.getBoundingClientRect();
    if (!box.width || !box.height) return;
    const ratio = devicePixelRatio || 1;
    const centre = this.centre;
    this.canvas.width = Math.round(box.width * ratio);
    this.canvas.height = Math.round(box.height * ratio);
    this.box = [box.width, box.height];
    if (this.area) {
      this.show(this.area.area, this.area.most);
    } else {
      const [x, y] = this.toScreen(centre);
      this.pan(box.width / 2 - x, box.height / 2 - y);
    }
    this.paint();
  }

  redraw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.paint();
    });
  }

  paint() {
    const { context, canvas, view } = this;
    const ratio = canvas.width / this.box[0];
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (!this.isPlaced) return;
    const [left, top] = this.toScreen([0, 0]);
    const [width, height] = this.size.map((each) => each * view.scale);
    if (this.picture) {
      context.imageSmoothingEnabled = view.scale * ratio < 4;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.picture, left, top, width, height);
    } else {
      context.strokeStyle = "#596878";
      context.setLineDash([6, 6]);
      context.strokeRect(left, top, width, height);
      context.setLineDash([]);
    }
    if (!this.hidesLayers) {
      context.save();
      context.beginPath();
      context.rect(left - 3, top - 3, width + 6, height + 6);
      context.clip();
      for (const layer of this.layers) if (!layer.label) this.paintLayer(layer);
      context.restore();
      this.paintLabels(this.layers.filter((layer) => layer.label));
    }
    this.on.seen();
  }

  paintLayer({ line, dot, ring, cross, colour, thick = 2, dashes = [], casing = true }) {
    const { context } = this;
    context.lineCap = "round";
    context.lineJoin = "round";
    if (line) {
      context.beginPath();
      line.forEach((point, at) => context[at ? "lineTo" : "moveTo"](...this.toScreen(point)));
      this.stroked(colour, thick, dashes, casing);
    }
    if (ring) {
      const [x, y] = this.toScreen(ring);
      context.beginPath();
      context.arc(x, y, 13, 0, 2 * Math.PI);
      this.stroked(colour, thick, dashes, casing);
    }
    if (dot) {
      const [x, y] = this.toScreen(dot);
      context.beginPath();
      context.arc(x, y, 5, 0, 2 * Math.PI);
      context.fillStyle = colour;
      context.fill();
      context.lineWidth = 1.5;
      context.strokeStyle = "#000";
      context.stroke();
    }
    if (cross) {
      const [x, y] = this.toScreen(cross);
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 4 * dx, y + 4 * dy);
        context.lineTo(x + 20 * dx, y + 20 * dy);
      }
      this.stroked(colour, thick, [], casing);
    }
  }

  stroked(colour, thick, dashes, casing) {
    const { context } = this;
    if (casing) {
      context.setLineDash([]);
      context.lineWidth = thick + 2.5;
      context.strokeStyle = "rgba(0, 0, 0, .55)";
      if (!dashes.length) context.stroke();
    }
    context.setLineDash(dashes);
    context.lineWidth = thick;
    context.strokeStyle = colour;
    context.stroke();
    context.setLineDash([]);
  }

  // Numbers, that keep inside the canvas and off each other where there is room.
  paintLabels(labels) {
    const { context } = this;
    const taken = [];
    // The chosen one's first.
    labels.sort((one, other) => Number(other.strong) - Number(one.strong));
    for (const { label, at, colour, strong } of labels.filter((each) => !(each.least > this.view.scale)).slice(0, MOST_LABELS)) {
      context.font = `${strong ? 700 : 600} ${strong ? 15 : 13}px system-ui, sans-serif`;
      const wide = context.measureText(label).width + 12;
      const high = strong ? 24 : 20;
      const [x, y] = this.toScreen(at);
      if (x < -wide || y < -high || x > this.box[0] + wide || y > this.box[1] + high) continue;
      const places = [[12, -high - 6], [12, 8], [-wide - 12, -high - 6], [-wide - 12, 8], [12, 34], [12, -high - 32]];
      const fits = places.map(([dx, dy]) => [x + dx, y + dy]).find(([left, top]) =>
        left > 2 && top > 2 && left + wide < this.box[0] - 2 && top + high < this.box[1] - 2
        && !taken.some((box) => left < box[2] && left + wide > box[0] && top < box[3] && top + high > box[1]))
        ?? (strong && [Math.min(Math.max(x + 12, 2), this.box[0] - wide - 2), Math.min(Math.max(y + 8, 2), this.box[1] - high - 2)]);
      if (!fits) continue;
      const [left, top] = fits;
      taken.push([left, top, left + wide, top + high]);
      context.fillStyle = strong ? colour : "rgba(8, 11, 15, .82)";
      context.beginPath();
      if (context.roundRect) context.roundRect(left, top, wide, high, 6);
      else context.rect(left, top, wide, high);
      context.fill();
      context.fillStyle = strong ? "#1b1200" : colour;
      context.textBaseline = "middle";
      context.fillText(label, left + 6, top + high / 2 + 0.5);
    }
  }
}
