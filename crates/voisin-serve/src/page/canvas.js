// Points on a canvas, written pixel by pixel: fluid with tens of thousands, with or without a graphics card.

/** Okabe and Ito's colours ("Color Universal Design", 2008); those that vanish on the page's ground are replaced. */
export const PALETTE = {
  light: [
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#b5559a",
    "#a87b00",
    "#3f9bd1",
    "#7a1f5c",
    "#5b5b5b",
    "#1f7a1f",
    "#b3261e",
  ],
  dark: [
    "#56b4e9",
    "#f08a3c",
    "#2cc79b",
    "#f09bcb",
    "#e6d43c",
    "#9ec9ff",
    "#c99a6a",
    "#cfcfcf",
    "#8fd16a",
    "#ff8a80",
  ],
};
export const GREY = { light: "#bdb8b0", dark: "#55514c" };
/** From low to high: dark to light, as viridis, without the ends that vanish on the ground. */
const RAMP = {
  light: [
    [68, 1, 84],
    [59, 82, 139],
    [33, 145, 140],
    [80, 180, 84],
    [205, 185, 20],
  ],
  dark: [
    [134, 90, 190],
    [88, 124, 198],
    [46, 168, 160],
    [110, 208, 108],
    [253, 231, 37],
  ],
};
export const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
export function ramp(theme, t) {
  const stops = RAMP[theme],
    p = Math.min(0.9999, Math.max(0, t)) * (stops.length - 1),
    k = Math.floor(p),
    f = p - k;
  return stops[k].map((v, d) => Math.round(v + f * (stops[k + 1][d] - v)));
}
export const rampCss = (theme) =>
  `linear-gradient(90deg, ${RAMP[theme].map((c) => `rgb(${c})`).join(", ")})`;

/** Discs as how much of each pixel they cover, for four places of their centre between pixels in each direction. */
const stamps = new Map();
function stamp(radius) {
  const key = Math.round(radius * 4);
  if (stamps.has(key)) return stamps.get(key);
  const r = key / 4,
    side = 2 * Math.ceil(r + 1) + 1,
    all = [];
  for (let fy = 0; fy < 4; fy++)
    for (let fx = 0; fx < 4; fx++) {
      const mask = new Uint8Array(side * side),
        cx = (side - 1) / 2 + fx / 4,
        cy = (side - 1) / 2 + fy / 4;
      for (let y = 0; y < side; y++)
        for (let x = 0; x < side; x++)
          mask[y * side + x] = 255 * Math.min(1, Math.max(0, r + 0.5 - Math.hypot(x - cx, y - cy)));
      all.push(mask);
    }
  const made = { side, all };
  stamps.set(key, made);
  return made;
}

/**
 * Draws discs.
 * - `x`, `y`: places on the map; `colours`: RGBA of each (alpha 0: not drawn)
 * - `view`: { x, y, scale } of the middle of the canvas
 */
export function drawPoints(ink, x, y, colours, view, radius, ratio) {
  const { width, height } = ink.canvas,
    image = ink.createImageData(width, height),
    pixels = image.data;
  const { side, all } = stamp(radius * ratio),
    half = (side - 1) / 2,
    scale = view.scale * ratio;
  for (let i = 0; i < x.length; i++) {
    const alpha = colours[4 * i + 3];
    if (!alpha) continue;
    const px = (x[i] - view.x) * scale + width / 2,
      py = height / 2 - (y[i] - view.y) * scale;
    if (px < -half || py < -half || px > width + half || py > height + half) continue;
    const ix = Math.floor(px),
      iy = Math.floor(py),
      mask = all[Math.floor((py - iy) * 4) * 4 + Math.floor((px - ix) * 4)];
    const r = colours[4 * i],
      g = colours[4 * i + 1],
      b = colours[4 * i + 2];
    const y0 = Math.max(0, iy - half),
      y1 = Math.min(height - 1, iy + half),
      x0 = Math.max(0, ix - half),
      x1 = Math.min(width - 1, ix + half);
    for (let yy = y0; yy <= y1; yy++) {
      let m = (yy - iy + half) * side + x0 - ix + half,
        p = 4 * (yy * width + x0);
      for (let xx = x0; xx <= x1; xx++, m++, p += 4) {
        const a = (mask[m] * alpha) / 255;
        if (a < 1) continue;
        const under = pixels[p + 3];
        if (under === 0) {
          pixels[p] = r;
          pixels[p + 1] = g;
          pixels[p + 2] = b;
          pixels[p + 3] = a;
          continue;
        }
        const out = a + (under * (255 - a)) / 255,
          share = a / out;
        pixels[p] += (r - pixels[p]) * share;
        pixels[p + 1] += (g - pixels[p + 1]) * share;
        pixels[p + 2] += (b - pixels[p + 2]) * share;
        pixels[p + 3] = out;
      }
    }
  }
  ink.putImageData(image, 0, 0);
}

/** Finds the point nearest to a place: a grid over the map. */
export class Nearest {
  constructor(x, y) {
    Object.assign(this, { x, y });
    const low = (a) => a.reduce((m, v) => Math.min(m, v), Infinity),
      high = (a) => a.reduce((m, v) => Math.max(m, v), -Infinity);
    this.bounds = [low(x), low(y), high(x), high(y)];
    this.cells = Math.max(1, Math.ceil(Math.sqrt(x.length / 3)));
    this.members = new Map();
    for (let i = 0; i < x.length; i++) {
      const key = this.cell(x[i], 0) + this.cells * this.cell(y[i], 1),
        cell = this.members.get(key);
      if (cell) cell.push(i);
      else this.members.set(key, [i]);
    }
  }
  cell(value, axis) {
    const low = this.bounds[axis],
      high = this.bounds[axis + 2];
    return Math.min(
      this.cells - 1,
      Math.max(0, Math.floor(((value - low) / (high - low || 1)) * this.cells)),
    );
  }
  find(x, y, radius, allowed) {
    let best = -1,
      least = radius * radius;
    for (let cy = this.cell(y - radius, 1); cy <= this.cell(y + radius, 1); cy++)
      for (let cx = this.cell(x - radius, 0); cx <= this.cell(x + radius, 0); cx++)
        for (const i of this.members.get(cx + this.cells * cy) ?? []) {
          const d = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
          if (d <= least && allowed(i)) {
            least = d;
            best = i;
          }
        }
    return best;
  }
}
