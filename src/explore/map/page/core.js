// Draws both maps, that of `voisin map` and that of the server's page, and follows the pointer.
// The build puts palette.json before it, as PALETTE.

const SLOTS = PALETTE.light.colours.length,
  OTHER = SLOTS,
  MISSING = SLOTS + 1;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const palette = () => PALETTE[prefersDark.matches ? "dark" : "light"];
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
// As a pixel's lower three bytes.
const packed = ([r, g, b]) => r | (g << 8) | (b << 16);
function ramp(stops, share) {
  const place = Math.min(0.9999, Math.max(0, share)) * (stops.length - 1),
    at = Math.floor(place);
  return stops[at].map((v, d) => Math.round(v + (place - at) * (stops[at + 1][d] - v)));
}

// A margin around the picture, so that no disc has to be clipped.
const EDGE = 40;
// Smaller categories have no name on the map: over a few dots it would read as that of the cloud around them.
const FEWEST = 5;

/** Tracks on a canvas, written pixel by pixel: fluid with a hundred thousand, with or without a graphics card. */
class PointMap {
  /**
   * - `points`, `over`: canvases, for the points and for all else; `tip`: the element that describes the track under the pointer
   * - `x`, `y`: places on the map; `neighbours(i)`: tracks to which lines are drawn
   * - `on`: `hover(i)` returns the tip's contents, `tap(i)`, `lassoed(tracks, add)`, `lassoing(on)`, `playing()`
   */
  constructor({ points, over, tip, x, y, neighbours, on, signal }) {
    Object.assign(this, { points, over, tip, x, y, neighbours, on, n: x.length });
    Object.assign(this, { hidden: new Set(), chosen: new Set(), selected: -1, hover: -1 });
    Object.assign(this, { lasso: null, lassoing: false, legend: [], names: [], numbers: null });
    Object.assign(this, { range: [0, 0], pending: false, stamps: new Map(), order: [] });
    this.slot = new Uint8Array(this.n);
    this.tones = new Uint32Array(this.n);
    this.bounds = [x, y].map((values) =>
      [Math.min, Math.max].map((f) => values.reduce((a, b) => f(a, b))),
    );
    this.pen = over.getContext("2d");
    this.resize();
    this.fit();
    const observer = new ResizeObserver(() => this.resize());
    observer.observe(over.parentNode);
    signal?.addEventListener("abort", () => observer.disconnect());
    this.bindEvents();
  }

  // ---- view
  toScreen(i) {
    return [
      (this.x[i] - this.view.x) * this.view.scale + this.width / 2,
      this.height / 2 - (this.y[i] - this.view.y) * this.view.scale,
    ];
  }
  toMap([sx, sy]) {
    return [
      (sx - this.width / 2) / this.view.scale + this.view.x,
      (this.height / 2 - sy) / this.view.scale + this.view.y,
    ];
  }
  resize() {
    // The same part of the map stays in sight.
    const share = this.width && this.view.scale / this.wholeScale(),
      box = this.over.parentNode.getBoundingClientRect();
    this.width = Math.max(1, box.width);
    this.height = Math.max(1, box.height);
    this.ratio = Math.min(2, devicePixelRatio || 1);
    for (const canvas of [this.points, this.over]) {
      canvas.width = Math.round(this.width * this.ratio);
      canvas.height = Math.round(this.height * this.ratio);
    }
    if (share) this.look(this.view.x, this.view.y, share * this.wholeScale());
  }
  scaleOf([[x0, x1], [y0, y1]]) {
    return 0.88 * Math.min(this.width / (x1 - x0 || 1e-9), this.height / (y1 - y0 || 1e-9));
  }
  wholeScale() {
    return this.scaleOf(this.bounds);
  }
  look(x, y, scale) {
    this.view = { x, y, scale };
    this.redraw();
  }
  /** Shows these bounds, at most eight times as large as the whole. */
  fit(bounds = this.bounds) {
    const [x, y] = bounds.map(([low, high]) => (low + high) / 2),
      whole = this.wholeScale();
    this.look(x, y, Math.min(Math.max(this.scaleOf(bounds), whole), 8 * whole));
  }
  zoom(factor, at = [this.width / 2, this.height / 2]) {
    const [x, y] = this.toMap(at),
      whole = this.wholeScale(),
      scale = Math.min(whole * 2000, Math.max(whole / 4, this.view.scale * factor)),
      kept = this.view.scale / scale;
    this.look(x + (this.view.x - x) * kept, y + (this.view.y - y) * kept, scale);
  }
  pan(dx, dy) {
    const { x, y, scale } = this.view;
    this.look(x - dx / scale, y + dy / scale, scale);
  }
  filter(holds) {
    const found = [];
    for (let i = 0; i < this.n; i++) if (holds(i)) found.push(i);
    return found;
  }

  // ---- colours
  visible = (i) => !this.hidden.has(this.slot[i]);
  /**
   * Colours by a name, `name(i)`, or by a number, `number(i)`.
   * - `order`: names in the order of the colours; without it, the most frequent first
   * - `none`: the label of tracks without a name
   */
  colourBy({ name, number, order, none }) {
    this.numbers = number ? Float64Array.from(this.x, (_, i) => number(i) ?? NaN) : null;
    const names = Array.from(this.x, (_, i) =>
        number ? (Number.isNaN(this.numbers[i]) ? null : "") : name(i) || null,
      ),
      counts = new Map();
    for (const found of names) counts.set(found, (counts.get(found) ?? 0) + 1);
    const missing = counts.get(null) ?? 0;
    counts.delete(null);
    const ranked = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)),
      coloured = (order ?? ranked.map(([key]) => key)).slice(0, SLOTS),
      slots = new Map(coloured.map((key, slot) => [key, slot])),
      others = ranked.filter(([key]) => !slots.has(key));
    names.forEach((found, i) => {
      this.slot[i] = found === null ? MISSING : (slots.get(found) ?? OTHER);
    });
    const rest = others.reduce((sum, [, count]) => sum + count, 0);
    this.legend = [
      ...coloured.map((key, slot) => ({ slot, name: key, count: counts.get(key) ?? 0 })),
      { slot: MISSING, name: none, count: missing },
      { slot: OTHER, name: `other (${others.length})`, count: rest },
    ]
      .filter((line) => line.count && line.name)
      .sort((a, b) => b.count - a.count);
    const known = [...(this.numbers ?? [])].filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
    this.range = [0.02, 0.98].map((share) => known[Math.floor(share * known.length)]);
    this.names = this.legend
      .filter(({ slot, count }) => slot < SLOTS && count >= Math.min(FEWEST, this.legend[0].count))
      .map((line) => ({ ...line, at: this.densest(line) }));
    this.paint();
  }
  paint() {
    const { colours, grey, ramp: stops } = palette(),
      table = [...colours, grey, grey].map((hex) => packed(rgb(hex))),
      ends = stops.map(rgb),
      [low, high] = this.range;
    for (let i = 0; i < this.n; i++)
      this.tones[i] =
        this.numbers && this.slot[i] !== MISSING
          ? packed(ramp(ends, (this.numbers[i] - low) / (high - low || 1)))
          : table[this.slot[i]];
    // Grey points first, so that they hide no others.
    const seen = this.filter(this.visible);
    this.order = [
      ...seen.filter((i) => this.slot[i] >= SLOTS),
      ...seen.filter((i) => this.slot[i] < SLOTS),
    ];
    this.redraw();
  }
  /** Where the name of a category goes: the member nearest to the mean of those in the fullest cell of a grid. */
  densest({ slot, count }) {
    const members = this.filter((i) => this.slot[i] === slot),
      side = Math.max(3, Math.min(24, Math.round(Math.sqrt(count)))),
      cells = new Map();
    const cell = (value, [low, high]) => Math.floor(((value - low) / (high - low || 1)) * side);
    for (const i of members) {
      const key = cell(this.x[i], this.bounds[0]) * 100 + cell(this.y[i], this.bounds[1]),
        { n, x, y } = cells.get(key) ?? { n: 0, x: 0, y: 0 };
      cells.set(key, { n: n + 1, x: x + this.x[i], y: y + this.y[i] });
    }
    const { n, x, y } = [...cells.values()].reduce((a, b) => (b.n > a.n ? b : a)),
      off = (i) => Math.hypot(this.x[i] - x / n, this.y[i] - y / n);
    return members.reduce((a, b) => (off(b) < off(a) ? b : a));
  }

  // ---- drawing
  redraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      if (this.over.isConnected) this.draw();
    });
  }
  radius() {
    const sides = this.bounds.map(([low, high]) => high - low),
      spread = (this.view.scale * (Math.max(...sides) || 1)) / Math.sqrt(this.n);
    return Math.min(8, Math.max(1.4, 0.7 * Math.sqrt(spread)));
  }
  /** Pixel offsets of a disc and the coverage of each. */
  stamp(radius, wide) {
    const key = Math.round(radius * 4);
    if (this.stamps.has(key)) return this.stamps.get(key);
    const reach = Math.ceil(key / 4 + 1),
      disc = { offsets: [], cover: [] };
    for (let y = -reach; y <= reach; y++)
      for (let x = -reach; x <= reach; x++) {
        const share = Math.min(1, key / 4 + 0.5 - Math.hypot(x, y));
        if (share < 0.02) continue;
        disc.offsets.push(y * wide + x);
        disc.cover.push(Math.round(256 * share));
      }
    this.stamps.set(key, disc);
    return disc;
  }
  drawPoints() {
    const { x, y, tones, view, slot } = this,
      wide = this.points.width + 2 * EDGE,
      high = this.points.height + 2 * EDGE;
    if (this.image?.width !== wide || this.image.height !== high) {
      this.image = new ImageData(wide, high);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.stamps.clear();
    }
    const disc = this.stamp(this.radius() * this.ratio, wide),
      scale = view.scale * this.ratio;
    this.pixels.fill(0);
    for (const i of this.order) {
      const px = Math.round((x[i] - view.x) * scale + wide / 2),
        py = Math.round(high / 2 - (y[i] - view.y) * scale);
      if (px < 20 || py < 20 || px > wide - 20 || py > high - 20) continue;
      this.drawDisc(disc, py * wide + px, tones[i], slot[i] < SLOTS ? 225 : 150);
    }
    this.points.getContext("2d").putImageData(this.image, -EDGE, -EDGE);
  }
  drawDisc({ offsets, cover }, at, tone, alpha) {
    const { pixels } = this,
      r = tone & 255,
      g = (tone >> 8) & 255,
      b = tone >> 16;
    for (let k = 0; k < offsets.length; k++) {
      const p = at + offsets[k],
        a = (cover[k] * alpha) >> 8,
        under = pixels[p];
      if (under === 0) {
        pixels[p] = tone | (a << 24);
        continue;
      }
      const out = a + ((under >>> 24) * (255 - a)) / 255,
        share = a / out,
        r0 = under & 255,
        g0 = (under >> 8) & 255,
        b0 = (under >> 16) & 255;
      pixels[p] =
        (r0 + (r - r0) * share) |
        ((g0 + (g - g0) * share) << 8) |
        ((b0 + (b - b0) * share) << 16) |
        (out << 24);
    }
  }
  ring(i, more, wide, colour) {
    if (i < 0 || !this.visible(i)) return;
    this.pen.beginPath();
    this.pen.arc(...this.toScreen(i), this.radius() + more, 0, 7);
    this.stroke(wide, colour);
  }
  stroke(wide, colour) {
    this.pen.lineWidth = wide;
    this.pen.strokeStyle = colour;
    this.pen.stroke();
  }
  draw() {
    this.drawPoints();
    const { pen, ratio, selected } = this,
      style = getComputedStyle(this.over),
      [ink, ground, accent] = ["--ink", "--ground", "--accent"].map((name) =>
        style.getPropertyValue(name),
      );
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    for (const j of selected < 0 ? [] : this.neighbours(selected)) {
      pen.beginPath();
      pen.moveTo(...this.toScreen(selected));
      pen.lineTo(...this.toScreen(j));
      this.stroke(1.5, accent);
      this.ring(j, 2.5, 1.5, accent);
    }
    this.ring(this.on.playing(), 4, 2.5, accent);
    for (const i of this.chosen) this.ring(i, 1.5, 1.5, ink);
    this.ring(this.hover, 3, 2, ink);
    this.ring(selected, 4, 5, ground);
    this.ring(selected, 4, 2.5, ink);
    this.drawNames(ink, ground, style.fontFamily);
    if (!this.lasso) return;
    pen.beginPath();
    for (const at of this.lasso) pen.lineTo(...at);
    pen.closePath();
    this.stroke(1.5, accent);
  }
  /** Names of categories, largest first, each above or below its place; one without room is left out. */
  drawNames(ink, ground, family) {
    const { pen, width, height } = this,
      away = this.radius() + 10,
      taken = [];
    Object.assign(pen, { font: `600 15px ${family}`, textAlign: "center", textBaseline: "middle" });
    Object.assign(pen, { lineJoin: "round", lineWidth: 4, strokeStyle: ground, fillStyle: ink });
    for (const { slot, name, at } of this.names) {
      const text = name.length > 36 ? name.slice(0, 35) + "…" : name,
        half = pen.measureText(text).width / 2 + 4,
        [x, y] = this.toScreen(at);
      if (this.hidden.has(slot) || x < 0 || y < 0 || x > width || y > height) continue;
      const cx = Math.min(width - half, Math.max(half, x)),
        boxes = [y - away, y + away, y - away - 20, y + away + 20].map((cy) => ({ cx, cy, half })),
        meets = (a, b) => Math.abs(a.cx - b.cx) < a.half + b.half && Math.abs(a.cy - b.cy) < 20,
        box = boxes.find((one) => one.cy > 10 && !taken.some((other) => meets(one, other)));
      if (!box) continue;
      taken.push(box);
      pen.strokeText(text, cx, box.cy);
      pen.fillText(text, cx, box.cy);
    }
  }

  // ---- pointer
  setLasso(on) {
    this.lassoing = on;
    this.lasso = null;
    this.over.classList.toggle("lassoing", on);
    this.on.lassoing(on);
    this.redraw();
  }
  /** The track nearest to a place on the screen, at most `reach` pixels from it, or -1. */
  under(at, reach) {
    const [x, y] = this.toMap(at);
    let best = -1,
      least = (reach / this.view.scale) ** 2;
    for (const i of this.order) {
      const d = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
      if (d <= least) {
        least = d;
        best = i;
      }
    }
    return best;
  }
  /** Tracks in sight within a polygon of screen points. */
  inside(polygon) {
    const corners = polygon.map((at) => this.toMap(at));
    return this.filter((i) => {
      const x = this.x[i],
        y = this.y[i];
      let within = false;
      for (let a = 0, b = corners.length - 1; a < corners.length; b = a++) {
        const [ax, ay] = corners[a],
          [bx, by] = corners[b];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) within = !within;
      }
      return within && this.visible(i);
    });
  }
  bindEvents() {
    const { over } = this;
    this.down = new Map();
    const spot = (event) => {
      const box = over.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const listen = (names, act) => {
      for (const name of names)
        over.addEventListener(name, (event) => act(event, spot(event)), { passive: false });
    };
    listen(["pointerdown"], (event, at) => this.pressed(event, at));
    listen(["pointermove"], (event, at) => this.moved(event, at));
    listen(["pointerup", "pointercancel"], (event) => this.released(event));
    listen(["pointerleave"], () => this.down.size || this.hoverOver(-1));
    listen(["wheel"], (event, at) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0016)), at);
    });
  }
  pressed(event, at) {
    this.over.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, at);
    this.press ??= { at, moved: false, add: event.shiftKey };
    this.lasso = this.down.size === 1 && (this.lassoing || event.shiftKey) ? [at] : null;
    this.tip.hidden = true;
  }
  moved(event, at) {
    const last = this.down.get(event.pointerId);
    if (!last) return this.hoverOver(this.under(at, 14), at);
    const other = [...this.down].find(([id]) => id !== event.pointerId)?.[1],
      apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]);
    this.down.set(event.pointerId, at);
    if (Math.hypot(at[0] - this.press.at[0], at[1] - this.press.at[1]) > 5) this.press.moved = true;
    if (this.lasso) this.lasso.push(at);
    // Two fingers: around the other one.
    else if (other) this.zoom(apart(at) / (apart(last) || 1), other);
    else if (this.press.moved) this.pan(at[0] - last[0], at[1] - last[1]);
    return this.redraw();
  }
  released(event) {
    if (!this.down.delete(event.pointerId) || this.down.size) return;
    const { lasso, press } = this;
    this.press = null;
    if (lasso && press.moved) {
      this.on.lassoed(this.inside(lasso), press.add);
      this.setLasso(false);
    } else if (!press.moved && event.type === "pointerup")
      this.on.tap(this.under(press.at, event.pointerType === "touch" ? 24 : 14));
  }
  /** The pointer rests on a track, or on none (-1). */
  hoverOver(i, at) {
    const { tip } = this;
    if (i !== this.hover) this.redraw();
    this.hover = i;
    tip.hidden = i < 0;
    if (i < 0) return;
    tip.replaceChildren(...this.on.hover(i));
    tip.style.left = Math.max(4, Math.min(at[0] + 14, this.width - tip.offsetWidth - 6)) + "px";
    tip.style.top = Math.max(4, Math.min(at[1] + 14, this.height - tip.offsetHeight - 6)) + "px";
  }

  /** For tests and benchmarks: milliseconds a frame while the map moves. */
  async measure(frames) {
    const began = performance.now();
    for (let k = 0; k < frames; k++) {
      this.zoom(k % 40 < 20 ? 1.06 : 1 / 1.06);
      this.pan(k % 20 < 10 ? 6 : -6, 2);
      this.draw();
      if (k % 10 === 9) await new Promise(requestAnimationFrame);
    }
    return (performance.now() - began) / frames;
  }
}
