// The map, on which similar tracks lie together: walking, selection with a lasso.
import { html, render, useLayoutEffect, useRef, useState } from "./preact.js";
import { request } from "./api.js";
import { PointMap, fold, rampCss, toneOf } from "./map-core.js";
import {
  Empty,
  Icon,
  IconButton,
  Name,
  Page,
  artistOf,
  capital,
  clock,
  count,
  joined,
  loaded,
  measured,
  titleOf,
  useAnswer,
} from "./parts.js";
import * as player from "./player.js";
import { announce, keep, search } from "./state.js";
import { RadioButton, Row } from "./tracks.js";

/** Colourings, by a name of each track or by a number; those by a scale are added. */
const WAYS = {
  genre: { label: "Genre", name: (t) => t.genre, none: "no genre", order: (all) => all.genres },
  cluster: { label: "Cluster", name: (t, names) => names.get(t.cluster), none: "no cluster" },
  word: { label: "Mood and sound", name: (t) => t.word, none: "nothing stands out" },
  tempo: { label: "Tempo", number: (t) => t.tempo, unit: " bpm" },
  key: { label: "Key", name: (t) => t.key?.replace("b", "♭").replace("#", "♯"), none: "no key" },
  loudness: { label: "Loudness", number: (t) => t.loudness, unit: " LUFS" },
  year: { label: "Year", number: (t) => t.year, unit: "" },
  artist: { label: "Artist", name: (t) => t.artist, none: "no artist" },
};
/** The colourings that say something of these tracks. */
function waysOf({ tracks, clusters }) {
  const names = new Map(clusters.map((cluster) => [cluster.id, cluster.name])),
    scales = new Set(tracks.flatMap((track) => Object.keys(track.scales ?? {})));
  const all = { ...WAYS };
  for (const scale of scales)
    all["scale " + scale] = { label: capital(scale), number: (t) => t.scales?.[scale], unit: "" };
  const says = ({ name, number }) =>
    tracks.some((t) => ((name ?? number)(t, names) ?? null) !== null);
  return [Object.fromEntries(Object.entries(all).filter(([, way]) => says(way))), names];
}

/** The open map, with its `tracks`, `names` of clusters, `ways`, and `show`, which draws what is beside it. */
let map = null;

export function MapPlace({ parts }) {
  const answer = useAnswer((more) => request("map", more), []),
    page = (inner) => html`<${Page} name="map" title="Map">${inner}<//>`;
  if (!answer.value) return page(loaded(answer));
  return answer.value.tracks.length
    ? html`<${Opened} answer=${answer.value} wanted=${Number(parts[1]) || null} />`
    : page(html`<${Empty} title="There is no map yet"><p>It needs a few tracks.</p><//>`);
}

function Opened({ answer, wanted }) {
  const [, draw] = useState({}),
    stage = useRef();
  useLayoutEffect(() => {
    const left = new AbortController();
    open(stage.current, answer, left.signal);
    map.show = () => draw({});
    recolour(map.ways[keep.get("colour", "genre")] ? keep.get("colour", "genre") : "genre");
    home();
    seek(search.value.text);
    select(
      map.tracks.findIndex((track) => track.id === wanted),
      true,
    );
    return () => {
      left.abort();
      map = null;
    };
  }, []);
  const isThere = map !== null,
    hasSide = isThere && (map.chosen.size > 0 || map.selected >= 0);
  return html`
    <div class=${"map" + (hasSide ? " has-side" : "")}>
      <h1 class="sr-only">Map</h1>
      <div class="map-head">${isThere && html`<${Tools} />`}</div>
      <div class="stage" ref=${stage}>
        <canvas class="points" aria-hidden="true"></canvas>
        <canvas class="over" tabindex="0" role="application" onKeyDown=${press}
          aria-label=${`Map of ${count(answer.tracks.length, "track")}. Arrow keys go from track to track, plus and minus zoom, Enter opens, P plays, S selects.`}></canvas>
        <div class="tip" hidden></div>
      </div>
      <div class="legend">${isThere && html`<${Legend} />`}</div>
      <div class="side">${isThere && html`<${Side} />`}</div>
    </div>`;
}

function open(stage, answer, signal) {
  const { tracks } = answer,
    [points, over, tip] = stage.children,
    [ways, names] = waysOf(answer);
  map = new PointMap({
    points,
    over,
    tip,
    x: Float32Array.from(tracks, (t) => t.x),
    y: Float32Array.from(tracks, (t) => t.y),
    ink: { fore: "--ink", back: "--ground", mark: "--accent", selected: "--ink" },
    on: { below: ringPlaying, above: wayBack, tap: (i) => select(i), lassoed, lassoing, hover },
    signal,
  });
  Object.assign(map, { answer, tracks, ways, names });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => recolour(map.way), { signal });
  const ends = [player.changes.follow(() => map.redraw()), search.follow(({ text }) => seek(text))];
  signal.addEventListener("abort", () => ends.forEach((end) => end()));
}
function lassoed(found, add) {
  if (!add) map.chosen.clear();
  found.forEach((i) => map.chosen.add(i));
  chosen();
}
function lassoing(on) {
  map.show();
  if (on) announce("Draw around the tracks.");
}
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
/** What is said of the track under the pointer. */
function hover(i) {
  if (i < 0) return [];
  const t = map.tracks[i],
    box = document.createElement("div");
  render(
    html`<${Name} as="b" text=${titleOf(t)} /><${Name} as="span" text=${artistOf(t)} />
      <small>${joined([t.genre, measured.tempo(t), measured.key(t)])}</small>`,
    box,
  );
  return box.children;
}

/** Zooms to most of the map: a few outliers would squeeze all other tracks together. */
function home() {
  const most = (all) => {
    const sorted = Float64Array.from(all).sort();
    return [0.03, 0.97].map((share) => sorted[Math.round(share * (sorted.length - 1))]);
  };
  const [x0, y0, x1, y1] = map.near.bounds,
    [a0, a1] = most(map.x),
    [b0, b1] = most(map.y);
  if (a1 - a0 > 0.65 * (x1 - x0) && b1 - b0 > 0.65 * (y1 - y0)) return map.fit(true);
  const scale =
    0.88 * Math.min(map.width / ((a1 - a0) * 1.1 || 1), map.height / ((b1 - b0) * 1.1 || 1));
  return map.glide((a0 + a1) / 2, (b0 + b1) / 2, Math.min(scale, 3 * map.wholeScale()), true);
}

// ---- colours
function recolour(key) {
  const way = map.ways[key] ?? WAYS[key];
  if (key !== map.way) map.hidden.clear();
  map.way = key;
  keep.set("colour", key);
  map.colourBy({
    name: (i) => way.name(map.tracks[i], map.names),
    numbers: way.number && map.tracks.map((track) => way.number(track) ?? NaN),
    order: way.order?.(map.answer),
    none: way.none,
  });
  map.show();
}

const Tools = () => html`
  <label class="inline">
    <span class="long">Colour</span>
    <select aria-label="Colour by" value=${map.way} onChange=${({ target }) => recolour(target.value)}>
      ${Object.entries(map.ways).map(([key, { label }]) => html`<option value=${key}>${label}</option>`)}
    </select>
  </label>
  <button type="button" class="switch" aria-pressed=${String(map.lassoing)}
    title="Draw around tracks (or hold Shift and drag)" onClick=${() => map.setLasso(!map.lassoing)}>
    <${Icon} name="lasso" />Lasso
  </button>
  <span class="grow"></span>
  <${IconButton} icon="minus" label="Zoom out" onClick=${() => map.zoom(1 / 1.6)} />
  <${IconButton} icon="plus" label="Zoom in" onClick=${() => map.zoom(1.6)} />
  <${IconButton} icon="fit" label="Show all" onClick=${() => map.fit()} />`;

function Legend() {
  if (map.numbers) {
    const spell = (v) => String(Math.round(v)).replace("-", "−") + map.ways[map.way].unit;
    return html`
      <div class="ramp">
        <span>${spell(map.range[0])}</span><i style=${{ "--ramp": rampCss() }}></i><span>${spell(map.range[1])}</span>
      </div>`;
  }
  const press = ({ slot }) => {
    if (!map.hidden.delete(slot)) map.hidden.add(slot);
    map.paint();
    map.show();
  };
  return map.legend.map(
    (line) => html`
      <button type="button" class="swatch" key=${line.slot} title="Show or hide"
        aria-pressed=${String(!map.hidden.has(line.slot))} style=${{ "--tone": toneOf(line.slot) }}
        onClick=${() => press(line)}><i></i><span>${line.name}</span><small>${line.count}</small></button>`,
  );
}

// ---- search
/** Selects the tracks whose artist and title contain all of these words; called at every keystroke. */
function seek(text) {
  const words = fold(text).split(/\s+/).filter(Boolean);
  if (!words.length && !map.chosen.size) return;
  map.texts ??= map.tracks.map((t) => fold([t.artist, t.title].filter(Boolean).join(" ")));
  const holds = (i) => map.visible(i) && words.every((word) => map.texts[i].includes(word));
  map.chosen = new Set(words.length ? map.filter(holds) : []);
  chosen();
}
/** Zooms to the search results. */
export function showFound() {
  const found = [...map.chosen];
  if (!found.length) return;
  const bounds = (values) => [Math.min(...values), Math.max(...values)],
    [x0, x1] = bounds(found.map((i) => map.x[i])),
    [y0, y1] = bounds(found.map((i) => map.y[i])),
    whole = map.wholeScale();
  const scale = 0.7 * Math.min(map.width / (x1 - x0 || 1e-9), map.height / (y1 - y0 || 1e-9));
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
  map.show();
  map.redraw();
}
function chosen() {
  announce(count(map.chosen.size, "track") + " selected");
  map.show();
  map.redraw();
}
function clear() {
  map.chosen.clear();
  chosen();
}
function nearby(i) {
  const far = (j) => Math.hypot(map.x[j] - map.x[i], map.y[j] - map.y[i]),
    near = map.filter(map.visible).sort((a, b) => far(a) - far(b));
  near.slice(0, 12).forEach((j) => map.chosen.add(j));
  chosen();
}

function Side() {
  const { selected } = map;
  if (!map.chosen.size && selected < 0)
    return html`<p class="faint hint">
      Tracks that sound alike lie together. Press one for details; draw a lasso around many to play them.
    </p>`;
  return html`
    ${map.chosen.size > 0 && html`<${Chosen} />`}
    ${selected >= 0 && html`<${Selected} track=${map.tracks[selected]} />`}`;
}

function Chosen() {
  const picked = [...map.chosen].map((i) => map.tracks[i]),
    entries = () => picked.map((track) => ({ track })),
    length = picked.reduce((sum, t) => sum + (t.seconds ?? 0), 0);
  return html`
    <section class="chosen">
      <div class="head">
        <h2>${count(picked.length, "track")} selected</h2><span class="faint">${clock(length)}</span>
        <${IconButton} icon="close" label="Select nothing" onClick=${clear} />
      </div>
      <div class="part-acts">
        <button type="button" class="primary small" onClick=${() => player.play(entries())}>
          <${Icon} name="play" />Play
        </button>
        <button type="button" class="small" id="lasso-queue" onClick=${() => player.enqueue(entries())}>
          <${Icon} name="after" />Play next
        </button>
        <${RadioButton} tracks=${picked} class="small" />
      </div>
      <ul class="rows small">
        ${picked.slice(0, 100).map((track) => html`<${Row} key=${track.id} track=${track} />`)}
      </ul>
      ${picked.length > 100 && html`<p class="faint">… and ${picked.length - 100} more</p>`}
    </section>`;
}

function Selected({ track }) {
  const cluster = map.names.get(track.cluster),
    facts = [
      track.genre,
      cluster && `cluster “${cluster}”`,
      measured.tempo(track),
      measured.key(track),
      track.year,
    ];
  return html`
    <section>
      <ul class="rows"><${Row} track=${track} /></ul>
      <p class="faint">${joined(facts)}</p>
      <div class="part-acts">
        <a class="button small" href=${"#/track/" + track.id}>Open its card</a>
        <button type="button" class="small" onClick=${() => nearby(map.selected)}>Select nearby tracks</button>
      </div>
    </section>`;
}

// ---- keys
function go(dx, dy) {
  const isFree = map.selected < 0,
    [x, y] = isFree ? [map.width / 2, map.height / 2] : map.toScreen(map.selected);
  /** How far a track is in this direction. */
  const far = (i) => {
    const [px, py] = map.toScreen(i),
      along = (px - x) * dx + (py - y) * dy,
      across = Math.abs((px - x) * dy - (py - y) * dx);
    if (isFree) return Math.hypot(px - x, py - y);
    return along > 0.5 ? along + 2.5 * across : Infinity;
  };
  let best = -1,
    least = Infinity;
  for (let i = 0; i < map.n; i++) {
    const at = i === map.selected || !map.visible(i) ? Infinity : far(i);
    if (at < least) [best, least] = [i, at];
  }
  if (best < 0) return;
  select(best, true);
  const t = map.tracks[best];
  announce([titleOf(t), artistOf(t), t.genre].filter(Boolean).join(", "));
}
/** Keys of which some need a selected track, `i`. */
const KEYS = {
  ArrowLeft: () => go(-1, 0),
  ArrowRight: () => go(1, 0),
  ArrowUp: () => go(0, -1),
  ArrowDown: () => go(0, 1),
  "+": () => map.zoom(1.4),
  "=": () => map.zoom(1.4),
  "-": () => map.zoom(1 / 1.4),
  0: () => map.fit(),
  l: () => map.setLasso(!map.lassoing),
  Escape() {
    map.setLasso(false);
    if (map.chosen.size) clear();
    else select(-1);
  },
};
const KEYS_OF_ONE = {
  Enter(i) {
    location.hash = "#/track/" + map.tracks[i].id;
  },
  p: (i) => player.playNow({ track: map.tracks[i] }),
  s(i) {
    if (!map.chosen.delete(i)) map.chosen.add(i);
    chosen();
  },
};
function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!KEYS[name] && !KEYS_OF_ONE[name]) return;
  event.preventDefault();
  event.stopPropagation();
  if (KEYS[name]) KEYS[name]();
  else if (map.selected >= 0) KEYS_OF_ONE[name](map.selected);
}

// For tests and for measuring.
export const measure = (frames) => map.measure(frames);
export const placeOf = (id) => {
  const i = map.tracks.findIndex((t) => t.id === id),
    box = map.over.getBoundingClientRect(),
    [x, y] = map.toScreen(i);
  return [x + box.left, y + box.top];
};
