// The map, on which similar tracks lie together: walking, selection with a lasso.
import {
  $,
  announce,
  changes,
  clock,
  count,
  h,
  icon,
  iconButton,
  isolated,
  joined,
  keep,
  measured,
  name,
} from "./dom.js";
import { request } from "./api.js";
import * as player from "./player.js";
import { artistOf, titleOf } from "./cover.js";
import { labelOf } from "./filters.js";
import { mark } from "./playing_marks.js";
import { row } from "./tracks.js";
import { empty, framed, load } from "./states.js";
import { PointMap, fold, rampCss, toneOf } from "./map-core.js";

/** Colourings, by a name of each track or by a number; those by a scale are added when the tracks have loaded. */
const WAYS = {
  genre: {
    label: "Genre",
    name: (t) => t.genre,
    none: "no genre",
    order: (answer) => answer.genres,
  },
  cluster: { label: "Cluster", name: (t, names) => names.get(t.cluster), none: "no cluster" },
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
let map = null;

export function show(root, route, signal) {
  const frame = framed("map", "Map");
  load(
    root,
    signal,
    (waiting) => request("map", { signal, waiting }),
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
    n = tracks.length,
    names = new Map(answer.clusters.map((cluster) => [cluster.id, cluster.name]));
  const points = h("canvas", { class: "points", "aria-hidden": "true" });
  const over = h("canvas", {
    class: "over",
    tabindex: 0,
    role: "application",
    "aria-label": `Map of ${count(n, "track")}. Arrow keys go from track to track, plus and minus zoom, Enter opens, P plays, S selects.`,
  });
  const tip = h("div", { class: "tip", hidden: true });
  const stage = h("div", { class: "stage" }, points, over, tip);
  const legendBox = h("div", { class: "legend" });
  const side = h("div", { class: "side", "data-scrolls": "" });
  const way = h("select", { "aria-label": "Colour by", onchange: () => recolour(way.value) });
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
  for (const scale of new Set(tracks.flatMap((track) => Object.keys(track.scales ?? {}))))
    WAYS["scale " + scale] = {
      label: labelOf(scale),
      number: (track) => track.scales?.[scale],
      unit: "",
    };
  const usable = Object.keys(WAYS).filter((key) => {
    const f = WAYS[key].name ?? WAYS[key].number;
    return tracks.some((t) => {
      const v = f(t, names);
      return v !== undefined && v !== null;
    });
  });
  for (const key of usable) way.append(h("option", { value: key }, WAYS[key].label));
  root.replaceChildren(
    h(
      "div",
      { class: "map" },
      h("h1", { class: "sr-only" }, "Map"),
      h(
        "div",
        { class: "map-head" },
        h("label", { class: "inline" }, h("span", { class: "long" }, "Colour"), way),
        lassoButton,
        h("span", { class: "grow" }),
        iconButton("minus", "Zoom out", () => map.zoom(1 / 1.6)),
        iconButton("plus", "Zoom in", () => map.zoom(1.6)),
        iconButton("fit", "Show all", () => map.fit()),
      ),
      stage,
      legendBox,
      side,
    ),
  );

  map = new PointMap({
    points,
    over,
    tip,
    x: Float32Array.from(tracks, (t) => t.x),
    y: Float32Array.from(tracks, (t) => t.y),
    ink: { fore: "--ink", back: "--ground", mark: "--accent", selected: "--ink" },
    on: {
      below: ringPlaying,
      above: wayBack,
      tap(i) {
        select(i);
      },
      lassoed(found, add) {
        if (!add) map.chosen.clear();
        found.forEach((i) => map.chosen.add(i));
        chosen();
      },
      lassoing(on) {
        lassoButton.setAttribute("aria-pressed", String(on));
        if (on) announce("Draw around the tracks.");
      },
      hover(i) {
        return i >= 0 && describe(tracks[i]);
      },
    },
    signal,
  });
  Object.assign(map, { answer, tracks, names, legendBox, side });
  lassoButton.addEventListener("click", () => map.setLasso(!map.lassoing));
  over.addEventListener("keydown", keys);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => recolour(map.way), {
    signal,
  });
  changes.on("change", () => map.redraw(), signal);
  home();
  const kept = keep.get("colour", "genre");
  way.value = usable.includes(kept) ? kept : (usable[0] ?? "genre");
  recolour(way.value);
  select(wanted === null ? -1 : tracks.findIndex((t) => t.id === wanted), true);
  if ($("search").value.trim()) seek($("search").value);
}

/** Zooms to most of the map: a few outliers would squeeze all other tracks together. */
function home() {
  const middle = (all) => {
    const sorted = Float64Array.from(all).sort(),
      at = (share) => sorted[Math.round(share * (sorted.length - 1))];
    return [at(0.03), at(0.97)];
  };
  const [x0, y0, x1, y1] = map.near.bounds,
    [a0, a1] = middle(map.x),
    [b0, b1] = middle(map.y);
  if (a1 - a0 > 0.65 * (x1 - x0) && b1 - b0 > 0.65 * (y1 - y0)) return map.fit(true);
  const scale =
    0.88 * Math.min(map.width / ((a1 - a0) * 1.1 || 1), map.height / ((b1 - b0) * 1.1 || 1));
  return map.glide((a0 + a1) / 2, (b0 + b1) / 2, Math.min(scale, 3 * map.wholeScale()), true);
}

// ---- colours
function recolour(key) {
  const { name, number, order, none } = WAYS[key];
  if (key !== map.way) map.hidden.clear();
  map.way = key;
  keep.set("colour", key);
  map.colourBy({
    name: (i) => name(map.tracks[i], map.names),
    numbers: number && map.tracks.map((track) => number(track) ?? NaN),
    order: order?.(map.answer),
    none,
  });
  showLegend();
}
function showLegend() {
  const way = WAYS[map.way];
  if (map.numbers) {
    const spell = (v) => String(Math.round(v)).replace("-", "−");
    map.legendBox.replaceChildren(
      h(
        "div",
        { class: "ramp" },
        h("span", {}, spell(map.range[0]) + way.unit),
        h("i", { vars: { "--ramp": rampCss() } }),
        h("span", {}, spell(map.range[1]) + way.unit),
      ),
    );
    return;
  }
  map.legendBox.replaceChildren(
    ...map.legend.map((line) =>
      h(
        "button",
        {
          type: "button",
          class: "swatch",
          "aria-pressed": String(!map.hidden.has(line.slot)),
          vars: { "--tone": toneOf(line.slot) },
          title: "Show or hide",
          onclick: (event) => {
            if (!map.hidden.delete(line.slot)) map.hidden.add(line.slot);
            event.currentTarget.setAttribute("aria-pressed", String(!map.hidden.has(line.slot)));
            map.paint();
          },
        },
        h("i", {}),
        h("span", {}, line.name),
        h("small", {}, line.count),
      ),
    ),
  );
}

// ---- overlays
function ringPlaying() {
  const playing = map.tracks.findIndex((t) => t.id === player.current()?.track.id);
  if (playing >= 0) map.ring(playing, 4, 2.5, map.inks.mark);
}
function wayBack() {
  if (map.inSight().length) return;
  map.pen.textAlign = "center";
  map.pen.font = `15px ${map.family}`;
  map.write("No tracks here: press 0, or Show all above", map.width / 2, map.height / 2);
}

// ---- the track under the pointer
const describe = (t) => [
  name(titleOf(t), "b"),
  name(artistOf(t), "span"),
  h("small", {}, joined([t.genre, measured.tempo(t), measured.key(t)])),
];

// ---- search
/** Selects the tracks whose artist and title contain all of these words; called at every keystroke. */
export function seek(text) {
  if (!map?.over.isConnected) return;
  const words = fold(text).split(/\s+/).filter(Boolean);
  map.texts ??= map.tracks.map((t) => fold([t.artist, t.title].filter(Boolean).join(" ")));
  map.chosen = new Set(
    words.length
      ? map.filter((i) => map.visible(i) && words.every((word) => map.texts[i].includes(word)))
      : [],
  );
  chosen();
}
/** Zooms to the search results. */
export function showFound() {
  const found = [...map.chosen];
  if (!found.length) return;
  const bounds = (values) => [Math.min(...values), Math.max(...values)];
  const [x0, x1] = bounds(found.map((i) => map.x[i])),
    [y0, y1] = bounds(found.map((i) => map.y[i]));
  const scale = 0.7 * Math.min(map.width / (x1 - x0 || 1e-9), map.height / (y1 - y0 || 1e-9));
  const whole = map.wholeScale();
  map.glide((x0 + x1) / 2, (y0 + y1) / 2, Math.min(Math.max(scale, whole), 8 * whole));
}

// ---- selection
function select(i, bring) {
  map.selected = i;
  if (bring && i >= 0) {
    const [x, y] = map.toScreen(i);
    if (x < 40 || x > map.width - 40 || y < 40 || y > map.height - 40)
      map.glide(map.x[i], map.y[i], map.view.scale);
  }
  showSide();
  map.redraw();
}
function chosen() {
  announce(count(map.chosen.size, "track") + " selected");
  showSide();
  map.redraw();
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
            map.redraw();
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
              onclick: () => player.play(picked.map((track) => ({ track }))),
            },
            icon("play"),
            "Play",
          ),
          h(
            "button",
            {
              type: "button",
              class: "small",
              id: "lasso-queue",
              onclick: () => player.enqueue(picked.map((track) => ({ track }))),
            },
            icon("after"),
            "Play next",
          ),
          player.radioButton(() => picked, { class: "small" }),
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
            map.names.has(track.cluster) && `cluster “${isolated(map.names.get(track.cluster))}”`,
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
            "Select nearby tracks",
          ),
        ),
      ),
    );
  } else if (!picked.length) {
    side.append(
      h(
        "p",
        { class: "faint hint" },
        "Tracks that sound alike lie together. Press one for details; draw a lasso around many to play them.",
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
    .filter(map.visible)
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
  const [x, y] = map.selected >= 0 ? map.toScreen(map.selected) : [map.width / 2, map.height / 2];
  let best = -1,
    least = Infinity;
  for (let i = 0; i < map.n; i++) {
    if (i === map.selected || !map.visible(i)) continue;
    const [px, py] = map.toScreen(i),
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
  announce(`${titleOf(t)}, ${artistOf(t)}${t.genre ? ", " + t.genre : ""}`);
}
const KEYS = {
  ArrowLeft: () => go(-1, 0),
  ArrowRight: () => go(1, 0),
  ArrowUp: () => go(0, -1),
  ArrowDown: () => go(0, 1),
  "+": () => map.zoom(1.4),
  "=": () => map.zoom(1.4),
  "-": () => map.zoom(1 / 1.4),
  0: () => map.fit(),
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

// For tests and for measuring.
export const measure = (frames) => map.measure(frames);
export const placeOf = (id) => {
  const i = map.tracks.findIndex((t) => t.id === id),
    box = $("main").querySelector(".over").getBoundingClientRect(),
    [x, y] = map.toScreen(i);
  return [x + box.left, y + box.top];
};
