// The map: tracks that sound alike lie together. Walk on it, listen under the pointer, take what a lasso holds.
import { $, changes, clock, count, h, icon, iconButton, keep, measured, say } from "./dom.js";
import { askAll } from "./api.js";
import * as player from "./player.js";
import * as list from "./list.js";
import { artistOf, titleOf } from "./cover.js";
import { mark } from "./playing.js";
import { row } from "./tracks.js";
import { empty, framed, load } from "./states.js";
import { GREY, Nearest, PALETTE, drawPoints, ramp, rampCss, rgb } from "./canvas.js";

/** Ways to colour: by a name of each track, or by a number. */
const WAYS = {
  genre: { label: "Genre", name: (t) => t.genre, none: "no genre" },
  cluster: { label: "Cluster", name: (t, map) => map.names.get(t.cluster), none: "no cluster" },
  word: { label: "Mood and sound", name: (t) => t.word, none: "nothing stands out" },
  tempo: { label: "Tempo", number: (t) => t.tempo, unit: " bpm" },
  key: {
    label: "Key",
    name: (t) => t.key?.replace("b", "♭").replace("#", "♯"),
    none: "no key",
  },
  loudness: { label: "Loudness", number: (t) => t.loudness, unit: " LUFS" },
  year: { label: "Year", number: (t) => t.year, unit: "" },
  artist: { label: "Artist", name: (t) => t.artist, none: "no artist" },
};
/** Names with a colour of their own; all others share one. */
const NAMED = 10;
let map = null;

export function show(root, route, signal) {
  const frame = framed("map", "Map");
  load(
    root,
    signal,
    (waiting) => askAll("map", ["tracks"], { signal, waiting }),
    (answer) => {
      if (!answer.tracks.length) {
        root.replaceChildren(frame(empty("There is no map yet", "It needs a few tracks.")));
        return;
      }
      open(root, answer, signal, Number(route.parts[1]) || null);
    },
    frame,
  );
}

function open(root, answer, signal, wanted) {
  const tracks = answer.tracks,
    n = tracks.length;
  const canvas = h("canvas", { class: "points", "aria-hidden": "true" });
  const over = h("canvas", {
    class: "over",
    tabindex: 0,
    role: "application",
    "aria-label": `Map of ${count(n, "track")}. Arrow keys go from track to track, plus and minus zoom, Enter opens, P plays, S selects.`,
  });
  const tip = h("div", { class: "tip", hidden: true });
  const stage = h("div", { class: "stage" }, canvas, over, tip);
  const legend = h("div", { class: "legend" });
  const side = h("div", { class: "side", "data-scrolls": "" });
  const way = h("select", { "aria-label": "Colour by", onchange: () => recolour(way.value) });
  const listening = h(
    "button",
    {
      type: "button",
      class: "switch",
      "aria-pressed": String(keep.get("listen-in", false)),
      title: "Plays what lies under the pointer",
    },
    icon("listen"),
    h("span", { class: "long" }, "Listen under the pointer"),
    h("span", { class: "short" }, "Listen"),
  );
  const lassoButton = h(
    "button",
    {
      type: "button",
      class: "switch",
      "aria-pressed": "false",
      title: "Draw around tracks (or hold Shift and drag)",
    },
    icon("lasso"),
    "Lasso",
  );
  map = {
    tracks,
    n,
    names: new Map(answer.clusters.map((c) => [c.id, c.name])),
    canvas,
    over,
    tip,
    legend,
    side,
    listening: keep.get("listen-in", false),
    x: Float32Array.from(tracks, (t) => t.x),
    y: Float32Array.from(tracks, (t) => t.y),
    colours: new Uint8ClampedArray(4 * n),
    group: new Int16Array(n),
    view: { x: 0, y: 0, scale: 1 },
    hidden: new Set(),
    chosen: new Set(),
    selected: -1,
    hover: -1,
    lasso: null,
    lassoing: false,
    groups: [],
    labels: [],
    way: "genre",
  };
  map.near = new Nearest(map.x, map.y);
  const usable = Object.keys(WAYS).filter((key) => {
    const f = WAYS[key].name ?? WAYS[key].number;
    return tracks.some((t) => {
      const v = f(t, map);
      return v !== undefined && v !== null;
    });
  });
  for (const key of usable) way.append(h("option", { value: key }, WAYS[key].label));
  root.replaceChildren(
    h(
      "div",
      { class: "map" },
      h("h1", { class: "hear" }, "Map"),
      h(
        "div",
        { class: "map-head" },
        h("label", { class: "inline" }, h("span", { class: "long" }, "Colour"), way),
        listening,
        lassoButton,
        h("span", { class: "grow" }),
        iconButton("minus", "Zoom out", () => zoom(1 / 1.6)),
        iconButton("plus", "Zoom in", () => zoom(1.6)),
        iconButton("fit", "Show all", () => fit()),
      ),
      stage,
      legend,
      side,
    ),
  );

  listening.addEventListener("click", () => {
    map.listening = !map.listening;
    listening.setAttribute("aria-pressed", String(map.listening));
    keep.set("listen-in", map.listening);
    if (!map.listening) player.stopListening();
  });
  map.setLasso = (on) => {
    map.lassoing = on;
    lassoButton.setAttribute("aria-pressed", String(on));
    over.classList.toggle("lassoing", on);
    if (on) say("Draw around the tracks.");
  };
  lassoButton.addEventListener("click", () => map.setLasso(!map.lassoing));
  pointers(signal);
  over.addEventListener("keydown", keys);
  const observer = new ResizeObserver(() => {
    resize();
    redraw();
  });
  observer.observe(stage);
  signal.addEventListener("abort", () => {
    observer.disconnect();
    clearTimeout(dwell);
    player.stopListening();
  });
  addEventListener("voisin-theme", () => recolour(map.way), { signal });
  changes.on("change", redraw, signal);
  resize();
  home(true);
  const kept = keep.get("colour", "genre");
  way.value = usable.includes(kept) ? kept : (usable[0] ?? "genre");
  recolour(way.value);
  select(wanted === null ? -1 : tracks.findIndex((t) => t.id === wanted), true);
}

const theme = () => document.documentElement.dataset.theme;
const toScreen = (i) => [
  (map.x[i] - map.view.x) * map.view.scale + map.width / 2,
  map.height / 2 - (map.y[i] - map.view.y) * map.view.scale,
];
const toMap = (sx, sy) => [
  (sx - map.width / 2) / map.view.scale + map.view.x,
  (map.height / 2 - sy) / map.view.scale + map.view.y,
];
const visible = (i) => !map.hidden.has(map.group[i]);

function resize() {
  // As much of the map stays in sight as was.
  const share = map.width ? map.view.scale / wholeScale() : 0;
  const box = map.over.parentNode.getBoundingClientRect();
  Object.assign(map, {
    width: box.width,
    height: box.height,
    ratio: Math.min(2, devicePixelRatio || 1),
  });
  for (const canvas of [map.canvas, map.over]) {
    canvas.width = box.width * map.ratio;
    canvas.height = box.height * map.ratio;
  }
  if (share) map.view.scale = share * wholeScale();
}
function wholeScale() {
  const [x0, y0, x1, y1] = map.near.bounds;
  return 0.88 * Math.min((map.width - 40) / (x1 - x0 || 1), (map.height - 40) / (y1 - y0 || 1));
}
function fit(at_once) {
  const [x0, y0, x1, y1] = map.near.bounds;
  glide((x0 + x1) / 2, (y0 + y1) / 2, wholeScale(), at_once);
}
/** Shows most of the map: some tracks far out would press all others together. */
function home(at_once) {
  const middle = (all) => {
    const sorted = Float64Array.from(all).sort(),
      at = (share) => sorted[Math.round(share * (sorted.length - 1))];
    return [at(0.03), at(0.97)];
  };
  const [x0, y0, x1, y1] = map.near.bounds,
    [a0, a1] = middle(map.near.x),
    [b0, b1] = middle(map.near.y);
  if (a1 - a0 > 0.65 * (x1 - x0) && b1 - b0 > 0.65 * (y1 - y0)) return fit(at_once);
  const scale =
    0.88 *
    Math.min((map.width - 40) / ((a1 - a0) * 1.1 || 1), (map.height - 40) / ((b1 - b0) * 1.1 || 1));
  return glide((a0 + a1) / 2, (b0 + b1) / 2, Math.min(scale, 3 * wholeScale()), at_once);
}
let flight = 0;
function glide(x, y, scale, at_once) {
  const from = { ...map.view },
    began = performance.now(),
    mine = ++flight,
    still = at_once || matchMedia("(prefers-reduced-motion: reduce)").matches;
  const move = (now) => {
    if (mine !== flight) return;
    const t = still ? 1 : Math.min(1, (now - began) / 320),
      e = t * t * (3 - 2 * t);
    Object.assign(map.view, {
      scale: from.scale * (scale / from.scale) ** e,
      x: from.x + (x - from.x) * e,
      y: from.y + (y - from.y) * e,
    });
    redraw();
    if (t < 1) requestAnimationFrame(move);
  };
  move(began);
}
function zoom(factor, sx = map.width / 2, sy = map.height / 2) {
  const [x, y] = toMap(sx, sy),
    whole = wholeScale();
  flight++;
  map.view.scale = Math.min(whole * 500, Math.max(whole / 3, map.view.scale * factor));
  map.view.x = x - (sx - map.width / 2) / map.view.scale;
  map.view.y = y - (map.height / 2 - sy) / map.view.scale;
  redraw();
}
function pan(dx, dy) {
  flight++;
  map.view.x -= dx / map.view.scale;
  map.view.y += dy / map.view.scale;
  redraw();
}

// ---- colours
function recolour(key) {
  const way = WAYS[key];
  if (key !== map.way) map.hidden.clear();
  map.way = key;
  keep.set("colour", key);
  if (way.number) {
    const values = map.tracks.map((t) => way.number(t) ?? NaN),
      known = values.filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
    const at = (share) => known[Math.min(known.length - 1, Math.floor(share * known.length))];
    map.range = [at(0.02), at(0.98)];
    map.values = values;
    map.group = Int16Array.from(values, (v) => (Number.isNaN(v) ? -1 : 0));
    map.groups = [];
  } else {
    const names = map.tracks.map((t) => way.name(t, map) ?? null),
      counts = new Map();
    for (const name of names) if (name !== null) counts.set(name, (counts.get(name) ?? 0) + 1);
    const order = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)),
      place = new Map(order.map(([name], i) => [name, Math.min(i, NAMED)]));
    map.group = Int16Array.from(names, (name) => (name === null ? -1 : place.get(name)));
    map.groups = order.slice(0, NAMED).map(([name, n], i) => ({ group: i, name, n, colour: i }));
    const others = order.slice(NAMED),
      rest = others.reduce((sum, [, n]) => sum + n, 0),
      missing = names.filter((name) => name === null).length;
    if (rest) map.groups.push({ group: NAMED, name: `${others.length} others`, n: rest });
    if (missing) map.groups.push({ group: -1, name: way.none, n: missing });
  }
  map.labels = way.number
    ? []
    : map.groups
        .filter((g) => g.colour !== undefined && g.n >= Math.min(4, map.n / 20))
        .flatMap((g) => places(g.group).map((place) => ({ ...g, ...place })));
  paint();
  showLegend();
}
/** Where a name is written: at the fullest place of its group, and at that of a second cloud, apart from it, with a third of the group. */
const APART = 0.15;
function places(group) {
  let members = [];
  for (let i = 0; i < map.n; i++) if (map.group[i] === group) members.push(i);
  members = members.filter((_, k) => k % Math.ceil(members.length / 400) === 0);
  const [x0, y0, x1, y1] = map.near.bounds,
    all = members.length,
    found = [];
  const within = (i, j, share) =>
    Math.abs(map.x[i] - map.x[j]) <= share * (x1 - x0) &&
    Math.abs(map.y[i] - map.y[j]) <= share * (y1 - y0);
  while (members.length) {
    const fullness = members.map((i) => members.filter((j) => within(i, j, 0.1)).length),
      most = Math.max(...fullness);
    if (found.length && (found.length > 1 || most < Math.max(5, all / 3))) break;
    const place = members[fullness.indexOf(most)];
    found.push({ x: map.x[place], y: map.y[place] });
    members = members.filter((i) => !within(i, place, APART));
  }
  return found;
}
const colourOf = (group) => (group >= 0 && group < NAMED ? PALETTE[theme()][group] : GREY[theme()]);
function paint() {
  const way = WAYS[map.way],
    tones = new Map();
  for (let i = 0; i < map.n; i++) {
    const group = map.group[i];
    const c =
      way.number && group === 0
        ? ramp(theme(), (map.values[i] - map.range[0]) / (map.range[1] - map.range[0] || 1))
        : (tones.get(group) ??
          tones.set(group, rgb(way.number ? GREY[theme()] : colourOf(group))).get(group));
    map.colours.set(c, 4 * i);
    map.colours[4 * i + 3] = visible(i) ? (group < 0 || group === NAMED ? 150 : 225) : 0;
  }
  redraw();
}
function showLegend() {
  const way = WAYS[map.way];
  if (way.number) {
    const spell = (v) => String(Math.round(v)).replace("-", "−");
    map.legend.replaceChildren(
      h(
        "div",
        { class: "ramp" },
        h("span", {}, spell(map.range[0]) + way.unit),
        h("i", { vars: { "--ramp": rampCss(theme()) } }),
        h("span", {}, spell(map.range[1]) + way.unit),
      ),
    );
    return;
  }
  map.legend.replaceChildren(
    ...map.groups.map((g) =>
      h(
        "button",
        {
          type: "button",
          class: "swatch",
          "aria-pressed": String(!map.hidden.has(g.group)),
          vars: { "--tone": colourOf(g.group) },
          title: "Show or hide",
          onclick: (event) => {
            if (!map.hidden.delete(g.group)) map.hidden.add(g.group);
            event.currentTarget.setAttribute("aria-pressed", String(!map.hidden.has(g.group)));
            paint();
          },
        },
        h("i", {}),
        h("span", {}, g.name),
        h("small", {}, g.n),
      ),
    ),
  );
}

// ---- drawing
let pending = false;
function redraw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    if (map?.canvas.isConnected) draw();
  });
}
function radius() {
  const [x0, , x1] = map.near.bounds,
    zoomed = map.view.scale / wholeScale();
  return Math.min(
    9,
    Math.max(1.3, ((0.24 * wholeScale() * (x1 - x0 || 1)) / Math.sqrt(map.n)) * Math.sqrt(zoomed)) *
      0.5 +
      0.7,
  );
}
/** Whether any track lies within the frame. */
function inSight() {
  const [x0, y1] = toMap(0, 0),
    [x1, y0] = toMap(map.width, map.height);
  for (let i = 0; i < map.n; i++)
    if (map.x[i] >= x0 && map.x[i] <= x1 && map.y[i] >= y0 && map.y[i] <= y1) return true;
  return false;
}
function draw() {
  const r = radius(),
    ratio = map.ratio;
  drawPoints(map.canvas.getContext("2d"), map.x, map.y, map.colours, map.view, r, ratio);
  const ink = map.over.getContext("2d"),
    style = getComputedStyle(map.over),
    strong = style.getPropertyValue("--ink"),
    ground = style.getPropertyValue("--ground"),
    accent = style.getPropertyValue("--accent");
  ink.setTransform(ratio, 0, 0, ratio, 0, 0);
  ink.clearRect(0, 0, map.width, map.height);
  const ring = (i, wide, colour, more) => {
    const [x, y] = toScreen(i);
    ink.strokeStyle = colour;
    ink.lineWidth = wide;
    ink.beginPath();
    ink.arc(x, y, r + more, 0, 7);
    ink.stroke();
  };
  for (const i of map.chosen) ring(i, 1.5, strong, 1.5);
  const playing = map.tracks.findIndex((t) => t.id === player.current()?.track.id);
  if (playing >= 0) ring(playing, 2.5, accent, 4);
  if (map.hover >= 0) ring(map.hover, 2, strong, 3);
  if (map.selected >= 0) {
    ring(map.selected, 4, ground, 4);
    ring(map.selected, 2.5, strong, 4);
  }
  if (!inSight()) {
    ink.textAlign = "center";
    ink.font = `15px ${getComputedStyle(document.body).fontFamily}`;
    ink.fillStyle = strong;
    ink.fillText(
      "Nothing is here: 0, or Show all above, brings everything back",
      map.width / 2,
      map.height / 2,
    );
  }
  // Names, the largest groups first, none over another.
  ink.font = `600 13px ${getComputedStyle(document.body).fontFamily}`;
  ink.textAlign = "center";
  ink.lineJoin = "round";
  const taken = [];
  for (const label of map.labels) {
    if (map.hidden.has(label.group)) continue;
    const text = label.name.length > 28 ? label.name.slice(0, 27) + "…" : label.name,
      wide = ink.measureText(text).width / 2 + 6;
    const x = Math.min(
        map.width - wide,
        Math.max(wide, (label.x - map.view.x) * map.view.scale + map.width / 2),
      ),
      y = map.height / 2 - (label.y - map.view.y) * map.view.scale - r - 6;
    if (
      y < 12 ||
      y > map.height - 6 ||
      taken.some((t) => Math.abs(t.x - x) < t.wide + wide && Math.abs(t.y - y) < 18)
    )
      continue;
    taken.push({ x, y, wide });
    ink.lineWidth = 4;
    ink.strokeStyle = ground;
    ink.strokeText(text, x, y);
    ink.fillStyle = strong;
    ink.fillText(text, x, y);
  }
  if (map.lasso) {
    ink.beginPath();
    map.lasso.forEach(([x, y], i) => (i ? ink.lineTo(x, y) : ink.moveTo(x, y)));
    ink.closePath();
    ink.globalAlpha = 0.15;
    ink.fillStyle = accent;
    ink.fill();
    ink.globalAlpha = 1;
    ink.lineWidth = 1.5;
    ink.strokeStyle = accent;
    ink.stroke();
  }
}

// ---- pointer
let dwell = 0;
function pointers(signal) {
  const { over } = map,
    down = new Map();
  let pressed = null,
    pinch = 0;
  const spot = (event) => {
    const box = over.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const under = ([sx, sy], reach = 14) => {
    const [x, y] = toMap(sx, sy);
    return map.near.find(x, y, reach / map.view.scale, visible);
  };
  over.addEventListener("pointerdown", (event) => {
    over.setPointerCapture(event.pointerId);
    down.set(event.pointerId, spot(event));
    if (down.size === 1) {
      pressed = { at: spot(event), last: spot(event), moved: false, add: event.shiftKey };
      if (map.lassoing || event.shiftKey) map.lasso = [spot(event)];
    } else {
      map.lasso = null;
      pinch = 0;
    }
    map.tip.hidden = true;
  });
  over.addEventListener("pointermove", (event) => {
    const at = spot(event);
    if (!down.has(event.pointerId)) return hover(under(at), at);
    down.set(event.pointerId, at);
    if (down.size === 2) {
      const [a, b] = [...down.values()],
        apart = Math.hypot(a[0] - b[0], a[1] - b[1]),
        centre = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
      if (pinch) {
        zoom(apart / pinch, ...centre);
        pan(centre[0] - pressed.last[0], centre[1] - pressed.last[1]);
      }
      pinch = apart;
      pressed.last = centre;
      pressed.moved = true;
      return;
    }
    if (!pressed) return;
    if (Math.hypot(at[0] - pressed.at[0], at[1] - pressed.at[1]) > 5) pressed.moved = true;
    if (map.lasso) {
      map.lasso.push(at);
      redraw();
    } else if (pressed.moved) pan(at[0] - pressed.last[0], at[1] - pressed.last[1]);
    pressed.last = at;
  });
  const released = (event) => {
    if (!down.delete(event.pointerId) || down.size) {
      pinch = 0;
      if (pressed && down.size) pressed.last = [...down.values()][0];
      return;
    }
    const { lasso } = map,
      was = pressed;
    map.lasso = null;
    pressed = null;
    if (lasso && was.moved && lasso.length > 2) {
      if (!was.add) map.chosen.clear();
      inside(lasso).forEach((i) => map.chosen.add(i));
      map.setLasso(false);
      chosen();
    } else if (was && !was.moved && event.type === "pointerup") {
      const i = under(was.at, event.pointerType === "touch" ? 24 : 14);
      select(i);
      if (i >= 0 && map.listening && event.pointerType === "touch")
        player.playNow({ track: map.tracks[i] });
    }
    redraw();
  };
  over.addEventListener("pointerup", released);
  over.addEventListener("pointercancel", released);
  over.addEventListener("pointerleave", () => {
    if (!down.size) hover(-1);
  });
  over.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0016)), ...spot(event));
    },
    { passive: false, signal },
  );
}
function hover(i, at) {
  if (i !== map.hover) {
    map.hover = i;
    redraw();
    clearTimeout(dwell);
    if (map.listening) {
      if (i < 0) dwell = setTimeout(player.stopListening, 400);
      // A pointer that passes over is not one that rests.
      else
        dwell = setTimeout(
          () => player.listenIn(map.tracks[i].id, map.tracks[i].seconds ?? 0),
          180,
        );
    }
  }
  const { tip } = map;
  tip.hidden = i < 0;
  if (i < 0) return;
  const t = map.tracks[i];
  tip.replaceChildren(
    h("b", {}, titleOf(t)),
    h("span", {}, artistOf(t)),
    h("small", {}, [t.genre, measured.tempo(t), measured.key(t)].filter(Boolean).join(" · ")),
  );
  tip.style.setProperty(
    "--x",
    Math.max(4, Math.min(at[0] + 14, map.width - tip.offsetWidth - 6)) + "px",
  );
  tip.style.setProperty(
    "--y",
    Math.max(4, Math.min(at[1] + 14, map.height - tip.offsetHeight - 6)) + "px",
  );
}
/** Tracks in sight within a polygon of screen points. */
function inside(polygon) {
  const corners = polygon.map(([x, y]) => toMap(x, y)),
    found = [];
  for (let i = 0; i < map.n; i++) {
    if (!visible(i)) continue;
    let within = false;
    for (let a = 0, b = corners.length - 1; a < corners.length; b = a++)
      if (
        corners[a][1] > map.y[i] !== corners[b][1] > map.y[i] &&
        map.x[i] <
          ((corners[b][0] - corners[a][0]) * (map.y[i] - corners[a][1])) /
            (corners[b][1] - corners[a][1]) +
            corners[a][0]
      )
        within = !within;
    if (within) found.push(i);
  }
  return found;
}

// ---- search
const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
/** Selects the tracks whose artist and title have all of these words, as they are typed. */
export function seek(text) {
  if (!map?.over.isConnected) return;
  const words = fold(text).split(/\s+/).filter(Boolean);
  map.texts ??= map.tracks.map((t) => fold([t.artist, t.title].filter(Boolean).join(" ")));
  map.chosen = new Set(
    words.length
      ? [...map.texts.keys()].filter(
          (i) => visible(i) && words.every((word) => map.texts[i].includes(word)),
        )
      : [],
  );
  chosen();
}
/** Brings what was found into sight. */
export function showFound() {
  const found = [...map.chosen];
  if (!found.length) return;
  const bounds = (values) => [Math.min(...values), Math.max(...values)];
  const [x0, x1] = bounds(found.map((i) => map.x[i])),
    [y0, y1] = bounds(found.map((i) => map.y[i]));
  const scale = 0.7 * Math.min(map.width / (x1 - x0 || 1e-9), map.height / (y1 - y0 || 1e-9));
  glide((x0 + x1) / 2, (y0 + y1) / 2, Math.min(Math.max(scale, wholeScale()), 8 * wholeScale()));
}

// ---- what is selected
function select(i, bring) {
  map.selected = i;
  if (bring && i >= 0) {
    const [x, y] = toScreen(i);
    if (x < 40 || x > map.width - 40 || y < 40 || y > map.height - 40)
      glide(map.x[i], map.y[i], map.view.scale);
  }
  showSide();
  redraw();
}
function chosen() {
  say(count(map.chosen.size, "track") + " selected");
  showSide();
  redraw();
}
function showSide() {
  const { side } = map,
    picked = [...map.chosen].map((i) => map.tracks[i]);
  side.replaceChildren();
  if (picked.length) {
    const length = picked.reduce((sum, t) => sum + (t.seconds ?? 0), 0);
    side.append(
      h(
        "section",
        { class: "chosen" },
        h(
          "div",
          { class: "head" },
          h("h2", {}, count(picked.length, "track") + " selected"),
          h("span", { class: "faint" }, clock(length)),
          iconButton("close", "Select nothing", () => {
            map.chosen.clear();
            showSide();
            redraw();
          }),
        ),
        h(
          "div",
          { class: "part-acts" },
          h(
            "button",
            {
              type: "button",
              class: "primary small",
              id: "lasso-list",
              onclick: () => {
                list.add(picked);
                map.chosen.clear();
                showSide();
                redraw();
              },
            },
            icon("add"),
            "Put on the list",
          ),
          h(
            "button",
            {
              type: "button",
              class: "small",
              onclick: () => player.play(picked.map((track) => ({ track }))),
            },
            icon("play"),
            "Play",
          ),
        ),
        h(
          "ul",
          { class: "rows small" },
          picked.slice(0, 100).map((track) => row({ track }, { genre: false })),
        ),
        picked.length > 100
          ? h("p", { class: "faint" }, `… and ${picked.length - 100} more`)
          : null,
      ),
    );
  }
  if (map.selected >= 0) {
    const track = map.tracks[map.selected];
    side.append(
      h(
        "section",
        {},
        h("ul", { class: "rows" }, row({ track })),
        h(
          "p",
          { class: "faint" },
          [
            track.genre,
            map.names.get(track.cluster),
            measured.tempo(track),
            measured.key(track),
            track.year,
          ]
            .filter(Boolean)
            .join(" · "),
        ),
        h(
          "div",
          { class: "part-acts" },
          h("a", { class: "button small", href: "#/track/" + track.id }, "Open its card"),
          h(
            "button",
            { type: "button", class: "small", onclick: () => nearby(map.selected) },
            "Select what lies near",
          ),
        ),
      ),
    );
  } else if (!picked.length) {
    side.append(
      h(
        "p",
        { class: "faint hint" },
        "Tracks that sound alike lie together. Press one to see what it is; draw a lasso around many to put them on the list.",
      ),
    );
  }
  map.over.parentNode.parentNode.classList.toggle(
    "has-side",
    picked.length > 0 || map.selected >= 0,
  );
  mark();
}
function nearby(i) {
  const order = [...map.x.keys()]
    .filter(visible)
    .sort(
      (a, b) =>
        Math.hypot(map.x[a] - map.x[i], map.y[a] - map.y[i]) -
        Math.hypot(map.x[b] - map.x[i], map.y[b] - map.y[i]),
    );
  order.slice(0, 12).forEach((j) => map.chosen.add(j));
  chosen();
}

// ---- keys
function go(dx, dy) {
  const [x, y] = map.selected >= 0 ? toScreen(map.selected) : [map.width / 2, map.height / 2];
  let best = -1,
    least = Infinity;
  for (let i = 0; i < map.n; i++) {
    if (i === map.selected || !visible(i)) continue;
    const [px, py] = toScreen(i),
      along = (px - x) * dx + (py - y) * dy,
      across = Math.abs((px - x) * dy - (py - y) * dx);
    if (map.selected >= 0 && along <= 0.5) continue;
    const far = map.selected >= 0 ? along + 2.5 * across : Math.hypot(px - x, py - y);
    if (far < least) {
      least = far;
      best = i;
    }
  }
  if (best < 0) return;
  select(best, true);
  const t = map.tracks[best];
  say(`${titleOf(t)}, ${artistOf(t)}${t.genre ? ", " + t.genre : ""}`);
  if (map.listening) {
    clearTimeout(dwell);
    dwell = setTimeout(() => player.listenIn(t.id, t.seconds ?? 0), 250);
  }
}
const KEYS = {
  ArrowLeft: () => go(-1, 0),
  ArrowRight: () => go(1, 0),
  ArrowUp: () => go(0, -1),
  ArrowDown: () => go(0, 1),
  "+": () => zoom(1.4),
  "=": () => zoom(1.4),
  "-": () => zoom(1 / 1.4),
  0: () => fit(),
  Enter: () => {
    if (map.selected >= 0) location.hash = "#/track/" + map.tracks[map.selected].id;
  },
  p: () => {
    if (map.selected >= 0) player.playNow({ track: map.tracks[map.selected] });
  },
  s: () => {
    if (map.selected >= 0) {
      if (!map.chosen.delete(map.selected)) map.chosen.add(map.selected);
      chosen();
    }
  },
  l: () => map.setLasso(!map.lassoing),
  Escape: () => {
    map.lasso = null;
    map.setLasso(false);
    if (map.chosen.size) {
      map.chosen.clear();
      chosen();
    } else select(-1);
  },
};
function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const act = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  event.stopPropagation();
  act();
}

/** For tests and for measuring: milliseconds a frame while the map moves. */
export async function measure(frames) {
  const began = performance.now();
  for (let k = 0; k < frames; k++) {
    zoom(k % 40 < 20 ? 1.05 : 1 / 1.05);
    pan(k % 20 < 10 ? 5 : -5, 2);
    draw();
    if (k % 10 === 9) await new Promise(requestAnimationFrame);
  }
  return (performance.now() - began) / frames;
}
export const placeOf = (id) => {
  const i = map.tracks.findIndex((t) => t.id === id),
    box = $("main").querySelector(".over").getBoundingClientRect(),
    [x, y] = toScreen(i);
  return [x + box.left, y + box.top];
};
