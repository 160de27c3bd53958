// Drawing: points by WebGL, or by writing pixels where there is none; names, lines and rings on a second canvas.
const stage = document.getElementById("stage"),
  pointCanvas = document.getElementById("points"),
  overlay = document.getElementById("overlay");
const ink = overlay.getContext("2d");

// Okabe and Ito's colours ("Color Universal Design", 2008), with those that vanish on white or black replaced;
// three shapes tell apart what shares a colour.
const PALETTE = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#7a1f5c", "#4d4d4d"],
  dark: ["#56b4e9", "#e69f00", "#00b88a", "#ff9ccb", "#f0e442", "#d55e00", "#9a6a3a", "#e0e0e0"],
};
const SHAPES = 3,
  SLOTS = 24,
  OTHER = SLOTS,
  MISSING = SLOTS + 1;
const GREY = { light: "#b9b9c2", dark: "#50505c" };
// Ramps for years, after viridis: early to late is dark to light, without what vanishes on white or black.
const RAMP = {
  light: [
    [68, 1, 84],
    [59, 82, 139],
    [33, 145, 140],
    [94, 201, 98],
    [222, 208, 28],
  ],
  dark: [
    [134, 90, 190],
    [88, 124, 198],
    [46, 168, 160],
    [110, 208, 108],
    [253, 231, 37],
  ],
};
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
function ramp(t) {
  const stops = RAMP[state.theme],
    p = Math.min(0.9999, Math.max(0, t)) * (stops.length - 1),
    k = Math.floor(p),
    f = p - k;
  return stops[k].map((v, d) => Math.round(v + f * (stops[k + 1][d] - v)));
}

const state = {
  mode: FIRST_MODE,
  theme: "light",
  hidden: new Set(),
  query: "",
  matches: null,
  selected: -1,
  hover: -1,
  chosen: new Set(),
  labels: true,
  lasso: null,
};
const view = { x: 0, y: 0, scale: 1 };
let width = 1,
  height = 1,
  ratio = 1;
// Per track: its legend slot, colour and shape.
const slot = new Uint8Array(N),
  colour = new Uint8Array(4 * N),
  shape = new Uint8Array(N);
let legend = [],
  marks = [],
  yearRange = [0, 0];

const toScreen = (x, y) => [
  (x - view.x) * view.scale + width / 2,
  height / 2 - (y - view.y) * view.scale,
];
const toMap = (sx, sy) => [
  (sx - width / 2) / view.scale + view.x,
  (height / 2 - sy) / view.scale + view.y,
];
const visible = (i) => !state.hidden.has(slot[i]);

// Sorts the tracks into legend slots for the current way to colour.
function classify() {
  const mode = MODES[state.mode];
  if (mode.years) {
    const known = Array.from(years)
      .filter((y) => y !== 0)
      .sort((a, b) => a - b);
    const at = (share) => known[Math.min(known.length - 1, Math.floor(share * known.length))];
    yearRange = [at(0.02), at(0.98)];
    for (let i = 0; i < N; i++) slot[i] = years[i] === 0 ? MISSING : 0;
    legend = [
      { slot: MISSING, name: mode.none, count: slot.reduce((sum, s) => sum + (s === MISSING), 0) },
    ].filter((e) => e.count);
    marks = [];
    return;
  }
  const { names, of } = mode.make(),
    counts = new Map();
  for (let i = 0; i < N; i++) {
    const c = of(i);
    counts.set(c, (counts.get(c) || 0) + 1);
  }
  const missing = counts.get(-1) || 0;
  counts.delete(-1);
  // Fixed: a colour always means the same.
  const order = mode.fixed
    ? names.map((_, c) => c).filter((c) => counts.has(c))
    : [...counts.keys()].sort(
        (a, b) => counts.get(b) - counts.get(a) || (names[a] < names[b] ? -1 : 1),
      );
  const slotOf = new Map(
    order.map((c, position) => [c, mode.fixed ? c : Math.min(position, OTHER)]),
  );
  for (let i = 0; i < N; i++) {
    const c = of(i);
    slot[i] = c < 0 ? MISSING : slotOf.get(c);
  }
  legend = order
    .slice(0, SLOTS)
    .map((c) => ({ slot: slotOf.get(c), name: names[c], count: counts.get(c) }));
  const others = order.slice(SLOTS);
  if (others.length)
    legend.push({
      slot: OTHER,
      name: "other (" + others.length + ")",
      count: others.reduce((sum, c) => sum + counts.get(c), 0),
    });
  if (missing) legend.push({ slot: MISSING, name: mode.none, count: missing });
  marks = mode.fixed ? [] : namePlaces();
}

// Where each category's name goes: the mean of its tracks around the fullest field of a grid, neighbouring fields counted
// with it; few tracks make a coarse grid. Tiny categories have none: over a handful of dots a name reads as that of the cloud
// around them. A second cloud, apart from the first place and with a third of the tracks, has the name too.
const FEWEST = 5,
  GRID = 64,
  APART = 0.15;
function namePlaces() {
  const found = [],
    real = legend.filter((e) => e.slot < SLOTS),
    largest = Math.max(1, ...real.map((e) => e.count));
  for (const entry of real.filter((e) => e.count >= Math.max(2, Math.min(FEWEST, largest)))) {
    const [x0, y0, x1, y1] = raw.bounds,
      side = Math.max(6, Math.min(48, Math.round(2 * Math.sqrt(entry.count))));
    for (let first = null; ; ) {
      const bins = new Map();
      const apart = (i) =>
        Math.abs(X[i] - first.x) > APART * (x1 - x0) ||
        Math.abs(Y[i] - first.y) > APART * (y1 - y0);
      for (let i = 0; i < N; i++)
        if (slot[i] === entry.slot && (!first || apart(i))) {
          const key =
            Math.floor(((X[i] - x0) / (x1 - x0 || 1)) * side) * GRID +
            Math.floor(((Y[i] - y0) / (y1 - y0 || 1)) * side);
          const bin = bins.get(key) || { n: 0, x: 0, y: 0 };
          bin.n++;
          bin.x += X[i];
          bin.y += Y[i];
          bins.set(key, bin);
        }
      let best = { n: 0, own: 0 };
      for (const key of [...bins.keys()].sort((a, b) => a - b)) {
        const sum = { n: 0, x: 0, y: 0, own: bins.get(key).n };
        for (const dx of [-GRID, 0, GRID])
          for (const dy of [-1, 0, 1]) {
            const bin = bins.get(key + dx + dy);
            if (bin) {
              sum.n += bin.n;
              sum.x += bin.x;
              sum.y += bin.y;
            }
          }
        if (sum.n > best.n || (sum.n === best.n && sum.own > best.own)) best = sum;
      }
      if (first && best.n < Math.max(FEWEST, entry.count / 3)) break;
      found.push({
        slot: entry.slot,
        name: entry.name,
        x: best.x / best.n,
        y: best.y / best.n,
        count: entry.count,
        size: 12 + 9 * Math.sqrt(entry.count / largest),
      });
      if (first) break;
      first = found.at(-1);
    }
  }
  return found;
}

function slotColour(s) {
  return s >= SLOTS ? GREY[state.theme] : PALETTE[state.theme][s % PALETTE[state.theme].length];
}
const slotShape = (s) => (s >= SLOTS ? 0 : Math.floor(s / PALETTE.light.length) % SHAPES);

// Colours of all tracks: by slot or year, fainter where a search does not match.
function paint() {
  const table = [];
  for (let s = 0; s <= MISSING; s++) table.push(rgb(slotColour(s)));
  const byYear = MODES[state.mode].years;
  for (let i = 0; i < N; i++) {
    const c =
      byYear && slot[i] !== MISSING
        ? ramp((years[i] - yearRange[0]) / (yearRange[1] - yearRange[0] || 1))
        : table[slot[i]];
    const faint = state.matches && !state.matches[i];
    colour[4 * i] = c[0];
    colour[4 * i + 1] = c[1];
    colour[4 * i + 2] = c[2];
    colour[4 * i + 3] = !visible(i) ? 0 : faint ? 26 : slot[i] >= SLOTS ? 150 : 215;
    shape[i] = byYear ? 0 : slotShape(slot[i]);
  }
  renderer.update();
  redraw();
}

function pointRadius() {
  return Math.min(
    8,
    Math.max(1.4, 0.62 * Math.sqrt((view.scale * (raw.bounds[2] - raw.bounds[0])) / Math.sqrt(N))),
  );
}

function glRenderer() {
  const gl = pointCanvas.getContext("webgl", {
    antialias: false,
    alpha: true,
    premultipliedAlpha: true,
  });
  if (!gl) return null;
  const compile = (type, source) => {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    return shader;
  };
  const program = gl.createProgram();
  gl.attachShader(
    program,
    compile(
      gl.VERTEX_SHADER,
      `attribute vec2 at; attribute vec4 colour; attribute float shape; uniform vec4 look; uniform float size; varying vec4 c; varying float s; varying float px;
    void main() { gl_Position = colour.a == 0. ? vec4(9., 9., 9., 1.) : vec4((at - look.xy) * look.zw, 0., 1.); gl_PointSize = size; c = colour; s = shape; px = size; }`,
    ),
  );
  gl.attachShader(
    program,
    compile(
      gl.FRAGMENT_SHADER,
      `precision mediump float; varying vec4 c; varying float s; varying float px;
    void main() { vec2 p = gl_PointCoord * 2. - 1.; float d = s < .5 ? length(p) : s < 1.5 ? max(abs(p.x), abs(p.y)) * 1.15 : max(abs(p.x) * 1.1 + p.y * -.55, p.y) * 1.25 + .12;
      float a = clamp((1. - d) * px * .5 + .5, 0., 1.) * c.a; if (a < .01) discard; gl_FragColor = vec4(c.rgb * a, a); }`,
    ),
  );
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
  gl.useProgram(program);
  const buffer = (name, data, parts, type, normal) => {
    const b = gl.createBuffer(),
      where = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, b);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(where);
    gl.vertexAttribPointer(where, parts, type, normal, 0, 0);
    return b;
  };
  const at = new Float32Array(2 * N);
  for (let i = 0; i < N; i++) {
    at[2 * i] = X[i];
    at[2 * i + 1] = Y[i];
  }
  buffer("at", at, 2, gl.FLOAT, false);
  const colours = buffer("colour", colour, 4, gl.UNSIGNED_BYTE, true),
    shapes = buffer("shape", shape, 1, gl.UNSIGNED_BYTE, false);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  const look = gl.getUniformLocation(program, "look"),
    size = gl.getUniformLocation(program, "size");
  return {
    kind: "webgl",
    update() {
      gl.bindBuffer(gl.ARRAY_BUFFER, colours);
      gl.bufferData(gl.ARRAY_BUFFER, colour, gl.DYNAMIC_DRAW);
      gl.bindBuffer(gl.ARRAY_BUFFER, shapes);
      gl.bufferData(gl.ARRAY_BUFFER, shape, gl.DYNAMIC_DRAW);
    },
    draw() {
      gl.viewport(0, 0, pointCanvas.width, pointCanvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform4f(look, view.x, view.y, (2 * view.scale) / width, (2 * view.scale) / height);
      gl.uniform1f(size, 2 * pointRadius() * ratio + 1);
      gl.drawArrays(gl.POINTS, 0, N);
    },
    finish() {
      const pixel = new Uint8Array(4);
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    },
  };
}

// Writes pixels itself: as fast as the number of points, on any machine.
function pixelRenderer() {
  const context = pointCanvas.getContext("2d");
  let image = null,
    pixels = null,
    solid = new Uint32Array(N);
  const stamps = (radius) => {
    const r = Math.ceil(radius),
      out = [];
    for (let s = 0; s < SHAPES; s++) {
      const rows = [];
      for (let y = -r; y <= r; y++) {
        let half = -1;
        if (s === 0) half = Math.floor(Math.sqrt(Math.max(0, radius * radius - y * y)) + 0.3);
        else if (s === 1) half = Math.abs(y) <= radius * 0.87 ? Math.floor(radius * 0.87) : -1;
        else half = y <= radius * 0.7 ? Math.floor(((y + radius) / (1.7 * radius)) * radius) : -1;
        if (half >= 0 && Math.abs(y) <= radius) rows.push(y, half);
      }
      out.push(rows);
    }
    return out;
  };
  return {
    kind: "pixels",
    update() {
      const back = rgb(state.theme === "dark" ? "#121216" : "#ffffff");
      for (let i = 0; i < N; i++) {
        const a = colour[4 * i + 3] / 255;
        const mix = (d) => Math.round(back[d] + a * (colour[4 * i + d] - back[d]));
        solid[i] = a === 0 ? 0 : ((255 << 24) | (mix(2) << 16) | (mix(1) << 8) | mix(0)) >>> 0;
      }
    },
    draw() {
      const w = pointCanvas.width,
        h = pointCanvas.height;
      if (!image || image.width !== w || image.height !== h) {
        image = context.createImageData(w, h);
        pixels = new Uint32Array(image.data.buffer);
      }
      pixels.fill(0);
      const radius = Math.max(1, pointRadius() * ratio),
        stamp = stamps(radius),
        scale = view.scale * ratio,
        r = Math.ceil(radius);
      for (let pass = 0; pass < 2; pass++)
        for (let i = 0; i < N; i++) {
          if (solid[i] === 0 || colour[4 * i + 3] < 100 !== (pass === 0)) continue;
          const sx = Math.round((X[i] - view.x) * scale + w / 2),
            sy = Math.round(h / 2 - (Y[i] - view.y) * scale);
          if (sx < -r || sy < -r || sx >= w + r || sy >= h + r) continue;
          const rows = stamp[shape[i]],
            c = solid[i];
          for (let k = 0; k < rows.length; k += 2) {
            const y = sy + rows[k];
            if (y < 0 || y >= h) continue;
            const from = y * w + Math.max(0, sx - rows[k + 1]),
              to = y * w + Math.min(w - 1, sx + rows[k + 1]);
            for (let p = from; p <= to; p++) pixels[p] = c;
          }
        }
      context.putImageData(image, 0, 0);
    },
    finish() {},
  };
}

const renderer = glRenderer() || pixelRenderer();
let pending = false;
function redraw() {
  if (!pending) {
    pending = true;
    requestAnimationFrame(frame);
  }
}
function frame() {
  pending = false;
  renderer.draw();
  drawOverlay();
}

function resize() {
  const box = stage.getBoundingClientRect();
  ratio = Math.min(2, window.devicePixelRatio || 1);
  width = Math.max(1, box.width);
  height = Math.max(1, box.height);
  for (const canvas of [pointCanvas, overlay]) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  redraw();
}

function ring(i, radius, line, style) {
  const [x, y] = toScreen(X[i], Y[i]);
  ink.beginPath();
  ink.arc(x, y, radius, 0, 7);
  ink.lineWidth = line;
  ink.strokeStyle = style;
  ink.stroke();
}

function drawOverlay() {
  const styles = getComputedStyle(document.documentElement),
    fore = styles.getPropertyValue("--fore"),
    back = styles.getPropertyValue("--back"),
    mark = styles.getPropertyValue("--mark");
  ink.setTransform(ratio, 0, 0, ratio, 0, 0);
  ink.clearRect(0, 0, width, height);
  const r = pointRadius();
  if (state.selected >= 0 && visible(state.selected)) {
    const i = state.selected,
      [x, y] = toScreen(X[i], Y[i]);
    for (let k = 0; k < K; k++) {
      const j = neighbours[i * K + k];
      if (j === NONE) break;
      const [nx, ny] = toScreen(X[j], Y[j]);
      ink.beginPath();
      ink.moveTo(x, y);
      ink.lineTo(nx, ny);
      ink.lineWidth = 3.5;
      ink.strokeStyle = back;
      ink.stroke();
      ink.lineWidth = 1.6;
      ink.strokeStyle = mark;
      ink.stroke();
      ring(j, r + 2.5, 1.6, mark);
    }
    ring(i, r + 4, 5, back);
    ring(i, r + 4, 2.5, mark);
  }
  for (const i of state.chosen) ring(i, r + 1.5, 1.5, fore);
  if (state.hover >= 0) ring(state.hover, r + 3, 2, fore);
  if (state.labels) drawTitles(drawNames(fore, back), fore, back);
  if (state.lasso && state.lasso.length > 1) {
    ink.beginPath();
    state.lasso.forEach(([x, y], k) => (k ? ink.lineTo(x, y) : ink.moveTo(x, y)));
    ink.closePath();
    ink.lineWidth = 2;
    ink.strokeStyle = mark;
    ink.setLineDash([6, 4]);
    ink.stroke();
    ink.setLineDash([]);
  }
}

// Text with a halo.
function write(text, x, y, fore, back) {
  ink.lineWidth = 4;
  ink.strokeStyle = back;
  ink.strokeText(text, x, y);
  ink.fillStyle = fore;
  ink.fillText(text, x, y);
}
const cut = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);

// Names of categories, largest first. One that would cover another moves away, tied to its place by a line; where there is no
// room within reach it is left out. Gives what is covered.
function drawNames(fore, back) {
  // The tools in the corner cover what is below them.
  const tools = $("tools"),
    taken = [
      [0, 0, tools.offsetLeft + tools.offsetWidth + 4, tools.offsetTop + tools.offsetHeight],
    ],
    shrink = Math.min(1, 0.6 + width / 1800);
  ink.textAlign = "center";
  ink.textBaseline = "middle";
  ink.lineJoin = "round";
  const crosses = (box) =>
    taken.some((t) => box[0] < t[2] && t[0] < box[2] && box[1] < t[3] && t[1] < box[3]);
  // Those of which a search meets less than a fifth are faint, and have what room is left.
  const met = new Uint32Array(MISSING + 1);
  if (state.matches) for (let i = 0; i < N; i++) met[slot[i]] += state.matches[i];
  const faint = (label) => state.matches !== null && met[label.slot] * 5 < label.count;
  const placed = [];
  for (const label of [...marks].sort((a, b) => faint(a) - faint(b))) {
    if (state.hidden.has(label.slot)) continue;
    const high = label.size * shrink * 0.75;
    ink.font = "600 " + label.size * shrink + "px system-ui, sans-serif";
    const [x, y] = toScreen(label.x, label.y),
      text = cut(label.name, 36),
      half = ink.measureText(text).width / 2 + 4;
    if (x < -half || y < -20 || x > width + half || y > height + 20) continue;
    for (let k = 0; k <= 36; k++) {
      const ring = Math.ceil(k / 12),
        angle = (k * Math.PI) / 6,
        within = x > 0 && x < width && 2 * half + 8 < width;
      const wish = x + ring * 34 * Math.cos(angle),
        cx = within ? Math.min(width - half - 4, Math.max(half + 4, wish)) : wish,
        cy = y + ring * 22 * Math.sin(angle) * (k > 0);
      const box = [cx - half, cy - high, cx + half, cy + high];
      if (
        crosses(box) ||
        (k > 0 && (box[0] < 0 || box[1] < 0 || box[2] > width || box[3] > height))
      )
        continue;
      taken.push(box);
      placed.push({ label, text, cx, cy, box, at: [x, y] });
      break;
    }
  }
  for (const {
    at: [x, y],
    box,
  } of placed) {
    const ex = Math.min(box[2], Math.max(box[0], x)),
      ey = Math.min(box[3], Math.max(box[1], y));
    if (Math.hypot(ex - x, ey - y) < 5) continue;
    ink.beginPath();
    ink.moveTo(x, y);
    ink.lineTo(ex, ey);
    ink.lineWidth = 3.5;
    ink.strokeStyle = back;
    ink.stroke();
    ink.lineWidth = 1.2;
    ink.strokeStyle = fore;
    ink.stroke();
  }
  for (const { label, text, cx, cy } of placed) {
    ink.font = "600 " + label.size * shrink + "px system-ui, sans-serif";
    ink.globalAlpha = faint(label) ? 0.25 : 1;
    write(text, cx, cy, fore, back);
  }
  ink.globalAlpha = 1;
  return taken;
}

// Where few tracks are in sight, their titles.
const MOST_TITLES = 60;
function drawTitles(taken, fore, back) {
  if (N > MOST_TITLES && view.scale < 1.5 * fitScale()) return;
  const shown = [],
    [x0, y1] = toMap(0, 0),
    [x1, y0] = toMap(width, height);
  for (let i = 0; i < N; i++)
    if (
      X[i] > x0 &&
      X[i] < x1 &&
      Y[i] > y0 &&
      Y[i] < y1 &&
      visible(i) &&
      !(state.matches && !state.matches[i])
    ) {
      shown.push(i);
      if (shown.length > MOST_TITLES) return;
    }
  ink.font = "12px system-ui, sans-serif";
  ink.textAlign = "left";
  ink.textBaseline = "middle";
  const r = pointRadius();
  for (const i of shown) {
    const [x, y] = toScreen(X[i], Y[i]),
      text = cut(title(i), 28),
      wide = ink.measureText(text).width;
    for (const left of [x + r + 5, x - r - 5 - wide]) {
      const box = [left - 1, y - 8, left + wide + 1, y + 8];
      if (
        box[0] < 0 ||
        box[2] > width ||
        taken.some((t) => box[0] < t[2] && t[0] < box[2] && box[1] < t[3] && t[1] < box[3])
      )
        continue;
      taken.push(box);
      write(text, left, y, fore, back);
      break;
    }
  }
}
