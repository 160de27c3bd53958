// The core of both maps, that of `voisin map` and that of the server's page: colours, legend, names, points, pointer.
// The build puts palette.json before it, as PALETTE.

const SLOTS = PALETTE.light.colours.length,
  OTHER = SLOTS,
  MISSING = SLOTS + 1;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
/** That of the page's own theme, else of the system's. */
const palette = () =>
  PALETTE[document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")];
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
// As a pixel's lower three bytes.
const packed = ([r, g, b]) => r | (g << 8) | (b << 16);
export const toneOf = (slot) => palette().colours[slot] ?? palette().grey;
export const rampCss = () => `linear-gradient(90deg, ${palette().ramp.join()})`;
function ramp(stops, share) {
  const place = Math.min(0.9999, Math.max(0, share)) * (stops.length - 1),
    at = Math.floor(place);
  return stops[at].map((v, d) => Math.round(v + (place - at) * (stops[at + 1][d] - v)));
}

/** Lower case without accents. */
export const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
export const cut = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
export const overlaps = (box, taken) =>
  taken.some((t) => box[0] < t[2] && t[0] < box[2] && box[1] < t[3] && t[1] < box[3]);

/** Finds the point nearest to a place: a grid over the map. */
class Nearest {
  constructor(x, y) {
    Object.assign(this, { x, y, bounds: [Infinity, Infinity, -Infinity, -Infinity] });
    for (const [axis, values] of [x, y].entries())
      for (const value of values) {
        this.bounds[axis] = Math.min(this.bounds[axis], value);
        this.bounds[axis + 2] = Math.max(this.bounds[axis + 2], value);
      }
    this.side = Math.max(1, Math.ceil(Math.sqrt(x.length / 3)));
    this.members = new Map();
    for (let i = 0; i < x.length; i++) {
      const key = this.cell(x[i], 0) + this.side * this.cell(y[i], 1),
        cell = this.members.get(key);
      if (cell) cell.push(i);
      else this.members.set(key, [i]);
    }
  }
  cell(value, axis) {
    const low = this.bounds[axis],
      share = (value - low) / (this.bounds[axis + 2] - low || 1);
    return Math.min(this.side - 1, Math.max(0, Math.floor(share * this.side)));
  }
  find(x, y, radius, allowed) {
    let best = -1,
      least = radius * radius;
    for (let cy = this.cell(y - radius, 1); cy <= this.cell(y + radius, 1); cy++)
      for (let cx = this.cell(x - radius, 0); cx <= this.cell(x + radius, 0); cx++)
        for (const i of this.members.get(cx + this.side * cy) ?? []) {
          const d = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
          if (d <= least && allowed(i)) {
            least = d;
            best = i;
          }
        }
    return best;
  }
}

// A margin around the picture, so that no disc has to be clipped.
const EDGE = 40;
// Smaller categories have no name on the map: over a few dots it would read as that of the cloud around them.
const FEWEST = 5,
  // A second cloud begins at this share of the map's width or height from the first.
  APART = 0.15,
  GRID = 64;

/** Tracks on a canvas, written pixel by pixel: fluid with a hundred thousand, with or without a graphics card. */
export class PointMap {
  /**
   * - `points`, `over`: canvases, for the points and for all else; `tip`: the element that describes the track under the pointer
   * - `x`, `y`: places on the map
   * - `ink`: custom properties of the style: `fore`, `back`, `mark`, `selected`
   * - `left`: pixels on the left that tools cover; `covered`: boxes without names
   * - `on`: `hover(i, is new)` returns the tip's contents, `tap(i, event)`, `lassoed(tracks, add)`, `lassoing(on)`,
   *   `moved()`, `below(draw)`, `above(taken)`
   */
  constructor({ points, over, tip, x, y, ink, left = 0, covered = () => [], on, signal }) {
    Object.assign(this, { points, over, tip, x, y, ink, left, covered, on, n: x.length });
    Object.assign(this, { hidden: new Set(), chosen: new Set(), selected: -1, hover: -1 });
    Object.assign(this, { lasso: null, lassoing: false, matches: null, labels: true, flight: 0 });
    Object.assign(this, { legend: [], marks: [], numbers: null, range: [0, 0], pending: false });
    this.view = { x: 0, y: 0, scale: 1 };
    this.slot = new Uint8Array(this.n);
    this.tones = new Uint32Array(this.n);
    this.alphas = new Uint8Array(this.n);
    this.order = new Uint32Array(this.n);
    this.stamps = new Map();
    this.near = new Nearest(x, y);
    this.pen = over.getContext("2d");
    this.resize();
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
  toMap(sx, sy) {
    return [
      (sx - this.width / 2) / this.view.scale + this.view.x,
      (this.height / 2 - sy) / this.view.scale + this.view.y,
    ];
  }
  resize() {
    // The same part of the map stays in sight.
    const share = this.width ? this.view.scale / this.wholeScale() : 1;
    const box = this.over.parentNode.getBoundingClientRect();
    this.width = Math.max(1, box.width);
    this.height = Math.max(1, box.height);
    this.ratio = Math.min(2, devicePixelRatio || 1);
    for (const canvas of [this.points, this.over]) {
      canvas.width = Math.round(this.width * this.ratio);
      canvas.height = Math.round(this.height * this.ratio);
    }
    this.view.scale = share * this.wholeScale();
    this.redraw();
  }
  wholeScale() {
    const [x0, y0, x1, y1] = this.near.bounds;
    return 0.88 * Math.min((this.width - this.left) / (x1 - x0 || 1), this.height / (y1 - y0 || 1));
  }
  middle() {
    const [x0, y0, x1, y1] = this.near.bounds;
    return [(x0 + x1) / 2 - this.left / 2 / this.wholeScale(), (y0 + y1) / 2];
  }
  fit(at_once) {
    this.glide(...this.middle(), this.wholeScale(), at_once);
  }
  glide(x, y, scale, at_once) {
    const still =
        at_once || document.hidden || matchMedia("(prefers-reduced-motion: reduce)").matches,
      from = { ...this.view },
      began = performance.now(),
      mine = ++this.flight;
    const move = (now) => {
      if (mine !== this.flight) return;
      const t = still ? 1 : Math.min(1, (now - began) / 350),
        e = t * t * (3 - 2 * t);
      this.view.scale = from.scale * (scale / from.scale) ** e;
      this.view.x = from.x + (x - from.x) * e;
      this.view.y = from.y + (y - from.y) * e;
      this.redraw();
      if (t < 1) requestAnimationFrame(move);
      else this.on.moved?.();
    };
    move(began);
  }
  zoom(factor, sx = this.width / 2, sy = this.height / 2) {
    const [x, y] = this.toMap(sx, sy),
      whole = this.wholeScale();
    this.flight++;
    this.view.scale = Math.min(whole * 2000, Math.max(whole / 4, this.view.scale * factor));
    this.view.x = x - (sx - this.width / 2) / this.view.scale;
    this.view.y = y - (this.height / 2 - sy) / this.view.scale;
    this.redraw();
    this.on.moved?.();
  }
  pan(dx, dy) {
    this.flight++;
    this.view.x -= dx / this.view.scale;
    this.view.y += dy / this.view.scale;
    this.redraw();
    this.on.moved?.();
  }
  /** Tracks in the frame. */
  inSight() {
    const [x0, y1] = this.toMap(0, 0),
      [x1, y0] = this.toMap(this.width, this.height);
    return this.filter(
      (i) => this.x[i] >= x0 && this.x[i] <= x1 && this.y[i] >= y0 && this.y[i] <= y1,
    );
  }
  filter(holds) {
    const found = [];
    for (let i = 0; i < this.n; i++) if (holds(i)) found.push(i);
    return found;
  }

  // ---- colours
  visible = (i) => !this.hidden.has(this.slot[i]);
  allowed = (i) => this.visible(i) && !(this.matches && !this.matches[i]);
  /**
   * Colours by a name, `name(i)`, or by a number, `numbers[i]` (NaN: none).
   * - `order`: names in the order of the colours; without it, the most frequent first
   * - `none`: the label of tracks without a name; `marked`: whether names are drawn on the map
   */
  colourBy({ name, order, numbers, none, marked = true }) {
    const counts = new Map(),
      names = Array.from(this.x, (_, i) =>
        numbers ? (Number.isNaN(numbers[i]) ? null : "") : name(i) || null,
      );
    for (const found of names) counts.set(found, (counts.get(found) ?? 0) + 1);
    const missing = counts.get(null) ?? 0;
    counts.delete(null);
    const ranked = () =>
      [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map((entry) => entry[0]);
    const slots = new Map((order ?? ranked()).slice(0, SLOTS).map((key, slot) => [key, slot]));
    names.forEach((found, i) => {
      this.slot[i] = found === null ? MISSING : (slots.get(found) ?? OTHER);
    });
    const others = [...counts].filter((entry) => !slots.has(entry[0])),
      rest = others.reduce((sum, [, count]) => sum + count, 0);
    // Most tracks first, also if the colours are in another order.
    this.legend = [
      ...[...slots].map(([key, slot]) => ({ slot, name: key, count: counts.get(key) ?? 0 })),
      { slot: MISSING, name: none, count: missing },
      { slot: OTHER, name: `other (${others.length})`, count: rest },
    ]
      .filter((line) => line.count && line.name)
      .sort((a, b) => b.count - a.count);
    this.numbers = numbers ?? null;
    if (numbers) {
      const known = [...numbers].filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
      this.range = [0.02, 0.98].map((share) => known[Math.floor(share * known.length)]);
    }
    this.marks = marked ? this.namePlaces() : [];
    this.paint();
  }
  /** Colours of all tracks, fainter where a search does not match. */
  paint() {
    const { colours, grey, ramp: stops } = palette(),
      table = [...colours, grey, grey].map((hex) => packed(rgb(hex))),
      ends = stops.map(rgb),
      [low, high] = this.range;
    const fainter = this.filter((i) => {
      const slot = this.slot[i],
        matches = !this.matches || this.matches[i];
      this.tones[i] =
        this.numbers && slot !== MISSING
          ? packed(ramp(ends, (this.numbers[i] - low) / (high - low || 1)))
          : table[slot];
      this.alphas[i] = !this.visible(i) ? 0 : !matches ? 26 : slot >= SLOTS ? 150 : 225;
      return this.alphas[i] < 225;
    });
    // Grey points first, so that they hide no others.
    this.order.set(fainter);
    this.order.set(
      this.filter((i) => this.alphas[i] === 225),
      fainter.length,
    );
    this.redraw();
  }
  /** Where the names of categories go: the densest place of each, and of a second cloud with a third of its tracks. */
  namePlaces() {
    const named = this.legend.filter((line) => line.slot < SLOTS),
      largest = Math.max(1, ...named.map((line) => line.count));
    const [x0, y0, x1, y1] = this.near.bounds;
    return named
      .filter((line) => line.count >= Math.max(2, Math.min(FEWEST, largest)))
      .flatMap((line) => {
        const members = this.filter((i) => this.slot[i] === line.slot),
          first = this.densest(members, line.count);
        const apart = members.filter(
          (i) =>
            Math.abs(this.x[i] - first.x) > APART * (x1 - x0) ||
            Math.abs(this.y[i] - first.y) > APART * (y1 - y0),
        );
        const second = this.densest(apart, line.count),
          size = 12 + 9 * Math.sqrt(line.count / largest);
        return [first, second]
          .filter((spot, k) => !k || spot.n >= Math.max(FEWEST, line.count / 3))
          .map(({ x, y }) => ({ ...line, x, y, size }));
      });
  }
  /** The member nearest to the mean of those around the fullest cell of a grid (coarser for a small `all`). */
  densest(members, all) {
    const [x0, y0, x1, y1] = this.near.bounds,
      side = Math.max(6, Math.min(48, Math.round(2 * Math.sqrt(all)))),
      bins = new Map();
    for (const i of members) {
      const key =
        Math.floor(((this.x[i] - x0) / (x1 - x0 || 1)) * side) * GRID +
        Math.floor(((this.y[i] - y0) / (y1 - y0 || 1)) * side);
      const bin = bins.get(key) ?? { n: 0, x: 0, y: 0 };
      bins.set(key, { n: bin.n + 1, x: bin.x + this.x[i], y: bin.y + this.y[i] });
    }
    let best = { n: 0, full: 0, x: 0, y: 0 };
    for (const key of [...bins.keys()].sort((a, b) => a - b)) {
      const sum = { n: 0, full: bins.get(key).n, x: 0, y: 0 };
      for (const dx of [-GRID, 0, GRID])
        for (const dy of [-1, 0, 1]) {
          const bin = bins.get(key + dx + dy);
          for (const part of bin ? ["n", "x", "y"] : []) sum[part] += bin[part];
        }
      if (sum.n > best.n || (sum.n === best.n && sum.full > best.full)) best = sum;
    }
    const off = (i) => Math.hypot(this.x[i] - best.x / best.n, this.y[i] - best.y / best.n),
      at = members.reduce((a, b) => (off(b) < off(a) ? b : a), members[0]);
    return { n: best.n, x: this.x[at], y: this.y[at] };
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
    const [x0, y0, x1, y1] = this.near.bounds,
      spread = (this.view.scale * (Math.max(x1 - x0, y1 - y0) || 1)) / Math.sqrt(this.n);
    return Math.min(8, Math.max(1.4, 0.7 * Math.sqrt(spread)));
  }
  /** Pixel offsets of a disc and the coverage of each, for four subpixel positions of its centre in each direction. */
  stamp(radius, wide) {
    const key = Math.round(radius * 4);
    if (this.stamps.has(key)) return this.stamps.get(key);
    const reach = Math.ceil(key / 4 + 1),
      all = [];
    for (let place = 0; place < 16; place++) {
      const offsets = [],
        cover = [];
      for (let y = -reach; y <= reach; y++)
        for (let x = -reach; x <= reach; x++) {
          const far = Math.hypot(x - (place % 4) / 4, y - (place >> 2) / 4),
            share = Math.min(1, key / 4 + 0.5 - far);
          if (share < 0.02) continue;
          offsets.push(y * wide + x);
          cover.push(Math.round(256 * share));
        }
      all.push({ offsets: Int32Array.from(offsets), cover: Int32Array.from(cover) });
    }
    this.stamps.set(key, all);
    return all;
  }
  drawPoints() {
    const { x, y, tones, alphas, view } = this,
      { width, height } = this.points,
      wide = width + 2 * EDGE,
      high = height + 2 * EDGE;
    if (this.image?.width !== wide || this.image.height !== high) {
      this.image = new ImageData(wide, high);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.stamps.clear();
    }
    const pixels = this.pixels,
      all = this.stamp(this.radius() * this.ratio, wide),
      scale = view.scale * this.ratio;
    pixels.fill(0);
    for (const i of this.order) {
      const alpha = alphas[i],
        px = (x[i] - view.x) * scale + wide / 2,
        py = high / 2 - (y[i] - view.y) * scale;
      if (!alpha || px < 20 || py < 20 || px > wide - 20 || py > high - 20) continue;
      const ix = Math.floor(px),
        iy = Math.floor(py),
        { offsets, cover } = all[Math.floor((py - iy) * 4) * 4 + Math.floor((px - ix) * 4)],
        tone = tones[i],
        r = tone & 255,
        g = (tone >> 8) & 255,
        b = tone >> 16;
      for (let k = 0; k < offsets.length; k++) {
        const p = iy * wide + ix + offsets[k],
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
    this.points.getContext("2d").putImageData(this.image, -EDGE, -EDGE);
  }
  ring(i, more, wide, colour) {
    this.pen.beginPath();
    this.pen.arc(...this.toScreen(i), this.radius() + more, 0, 7);
    this.stroke(wide, colour);
  }
  stroke(wide, colour) {
    this.pen.lineWidth = wide;
    this.pen.strokeStyle = colour;
    this.pen.stroke();
  }
  line(from, to, wide, colour, back) {
    this.pen.beginPath();
    this.pen.moveTo(...from);
    this.pen.lineTo(...to);
    this.stroke(3.5, back);
    this.stroke(wide, colour);
  }
  /** Text with a halo. */
  write(text, x, y) {
    this.pen.lineWidth = 4;
    this.pen.strokeStyle = this.inks.back;
    this.pen.strokeText(text, x, y);
    this.pen.fillStyle = this.inks.fore;
    this.pen.fillText(text, x, y);
  }
  draw() {
    this.drawPoints();
    const { pen, ratio, lasso } = this,
      style = getComputedStyle(this.over);
    this.inks = Object.fromEntries(
      Object.entries(this.ink).map(([use, name]) => [use, style.getPropertyValue(name)]),
    );
    this.family = getComputedStyle(document.body).fontFamily;
    const { fore, back, mark, selected } = this.inks;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    this.on.below?.();
    for (const i of this.chosen) this.ring(i, 1.5, 1.5, fore);
    if (this.hover >= 0) this.ring(this.hover, 3, 2, fore);
    if (this.selected >= 0 && this.visible(this.selected)) {
      this.ring(this.selected, 4, 5, back);
      this.ring(this.selected, 4, 2.5, selected);
    }
    const taken = this.covered();
    if (this.labels) this.drawNames(taken);
    this.on.above?.(taken);
    if (!lasso) return;
    pen.beginPath();
    lasso.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.closePath();
    pen.globalAlpha = 0.15;
    pen.fillStyle = mark;
    pen.fill();
    pen.globalAlpha = 1;
    this.stroke(1.5, mark);
  }
  /** Counts the dots in a box of the screen, by cells; of many tracks none, since names would cover dots anywhere. */
  crowd() {
    if (this.n > 5000) return () => 0;
    const field = 8,
      wide = Math.ceil(this.width / field) + 1,
      high = Math.ceil(this.height / field) + 1,
      counts = new Uint16Array(wide * high),
      at = (v, most) => Math.min(most - 1, Math.max(0, Math.floor(v / field)));
    for (const i of this.filter((i) => this.visible(i))) {
      const [x, y] = this.toScreen(i);
      if (x < 0 || y < 0 || x > this.width || y > this.height) continue;
      counts[at(y, high) * wide + at(x, wide)]++;
    }
    return ([left, top, right, bottom]) => {
      let count = 0;
      for (let y = at(top, high); y <= at(bottom, high); y++)
        for (let x = at(left, wide); x <= at(right, wide); x++) count += counts[y * wide + x];
      return count;
    };
  }
  /** Names of categories, largest first, each where it hides the fewest dots and covers no other name. A line ties a moved
   * name to its place; a name without room is left out. Adds the boxes of the names to `taken`. */
  drawNames(taken) {
    const { pen, width, height, slot } = this,
      shrink = Math.min(1, 0.5 + width / 2800),
      reach = this.radius() + 1,
      dots = this.crowd(),
      placed = [];
    const font = (mark) => `600 ${mark.size * shrink}px ${this.family}`;
    // Categories of which a search matches less than a fifth are faint and placed last.
    const met = new Uint32Array(MISSING + 1);
    if (this.matches) for (let i = 0; i < this.n; i++) met[slot[i]] += this.matches[i];
    const faint = (mark) => this.matches !== null && met[mark.slot] * 5 < mark.count;
    pen.textAlign = "center";
    for (const mark of [...this.marks].sort((a, b) => faint(a) - faint(b))) {
      if (this.hidden.has(mark.slot)) continue;
      pen.font = font(mark);
      const x = (mark.x - this.view.x) * this.view.scale + width / 2,
        y = height / 2 - (mark.y - this.view.y) * this.view.scale,
        text = cut(mark.name, 36),
        high = mark.size * shrink * 0.75,
        half = pen.measureText(text).width / 2 + 4;
      if (x < -half || y < -20 || x > width + half || y > height + 20) continue;
      const within = x > 0 && x < width && 2 * half + 8 < width;
      let best = null;
      for (let k = 0; k <= 36; k++) {
        const away = Math.ceil(k / 12),
          wish = x + away * 34 * Math.cos((k * Math.PI) / 6),
          cx = within ? Math.min(width - half - 4, Math.max(half + 4, wish)) : wish,
          // Just above the central track, not on it.
          cy = y - reach - high + away * 22 * Math.sin((k * Math.PI) / 6),
          box = [cx - half, cy - high, cx + half, cy + high];
        const outside = box[0] < 0 || box[1] < 0 || box[2] > width || box[3] > height;
        if (overlaps(box, taken) || (k > 0 && outside)) continue;
        const hidden = dots(box);
        if (!best || hidden < best.hidden) best = { hidden, mark, text, cx, cy, box, at: [x, y] };
        if (!hidden) break;
      }
      if (!best) continue;
      taken.push(best.box);
      placed.push(best);
    }
    for (const { at, box } of placed) {
      const end = [0, 1].map((d) => Math.min(box[d + 2], Math.max(box[d], at[d])));
      if (Math.hypot(end[0] - at[0], end[1] - at[1]) >= reach + 5)
        this.line(at, end, 1.2, this.inks.fore, this.inks.back);
    }
    for (const { mark, text, cx, cy } of placed) {
      pen.font = font(mark);
      pen.globalAlpha = faint(mark) ? 0.25 : 1;
      this.write(text, cx, cy);
    }
    pen.globalAlpha = 1;
  }

  // ---- pointer
  setLasso(on) {
    this.lassoing = on;
    this.lasso = null;
    this.over.classList.toggle("lassoing", on);
    this.on.lassoing(on);
  }
  under([sx, sy], reach = 14) {
    const [x, y] = this.toMap(sx, sy);
    return this.near.find(x, y, reach / this.view.scale, this.allowed);
  }
  /** Tracks in sight within a polygon of screen points. */
  inside(polygon) {
    const corners = polygon.map(([sx, sy]) => this.toMap(sx, sy));
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
    const { over, on } = this,
      down = new Map();
    let pressed = null,
      pinch = 0;
    const spot = (event) => {
      const box = over.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    over.addEventListener("pointerdown", (event) => {
      const at = spot(event);
      over.setPointerCapture(event.pointerId);
      down.set(event.pointerId, at);
      if (down.size === 1) {
        pressed = { at, last: at, moved: false, add: event.shiftKey };
        if (this.lassoing || event.shiftKey) this.lasso = [at];
      } else {
        this.lasso = null;
        pinch = 0;
      }
      this.tip.hidden = true;
    });
    over.addEventListener("pointermove", (event) => {
      const at = spot(event);
      if (!down.has(event.pointerId)) return this.hoverOver(this.under(at), at);
      down.set(event.pointerId, at);
      if (down.size === 2) {
        const [a, b] = [...down.values()],
          apart = Math.hypot(a[0] - b[0], a[1] - b[1]),
          centre = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
        if (pinch) {
          this.zoom(apart / pinch, ...centre);
          this.pan(centre[0] - pressed.last[0], centre[1] - pressed.last[1]);
        }
        pinch = apart;
        pressed.last = centre;
        pressed.moved = true;
        return;
      }
      if (!pressed) return;
      if (Math.hypot(at[0] - pressed.at[0], at[1] - pressed.at[1]) > 5) pressed.moved = true;
      if (this.lasso) {
        this.lasso.push(at);
        this.redraw();
      } else if (pressed.moved) this.pan(at[0] - pressed.last[0], at[1] - pressed.last[1]);
      pressed.last = at;
    });
    const released = (event) => {
      if (!down.delete(event.pointerId) || down.size) {
        pinch = 0;
        if (pressed && down.size) pressed.last = [...down.values()][0];
        return;
      }
      const { lasso } = this,
        was = pressed;
      this.lasso = null;
      pressed = null;
      if (lasso && was.moved && lasso.length > 2) {
        on.lassoed(this.inside(lasso), was.add);
        this.setLasso(false);
      } else if (was && !was.moved && event.type === "pointerup")
        on.tap(this.under(was.at, event.pointerType === "touch" ? 24 : 14), event);
      this.redraw();
    };
    over.addEventListener("pointerup", released);
    over.addEventListener("pointercancel", released);
    over.addEventListener("pointerleave", () => {
      if (!down.size) this.hoverOver(-1);
    });
    over.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoom(
          Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0016)),
          ...spot(event),
        );
      },
      { passive: false },
    );
  }
  /** The pointer rests on a track, or on none (-1). */
  hoverOver(i, at) {
    const { tip } = this,
      isNew = i !== this.hover;
    this.hover = i;
    if (isNew) this.redraw();
    const contents = this.on.hover(i, isNew);
    tip.hidden = i < 0;
    if (i < 0) return;
    tip.replaceChildren(...contents);
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
