// The map, on which similar tracks lie together: its data, and what stands beside it.
import { html, render, useLayoutEffect, useRef } from "./html.js";
import { request } from "./api.js";
import { MapView, element } from "./map-core.js";
import {
  Empty,
  IconButton,
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

/** The open map, and its tracks. */
let view = null,
  tracks = [];

export function MapPlace({ parts }) {
  const answer = useAnswer((more) => request("map", more), []),
    page = (inner) => html`<${Page} name="map" title="Map">${inner}<//>`;
  if (!answer.value) return page(loaded(answer));
  return answer.value.tracks.length
    ? html`<${Opened} answer=${answer.value} wanted=${Number(parts[1])} />`
    : page(html`<${Empty} title="There is no map yet"><p>It needs a few tracks.</p><//>`);
}

function Opened({ answer, wanted }) {
  const root = useRef();
  useLayoutEffect(() => {
    const left = new AbortController();
    open(root.current, answer, left.signal);
    view.seek(search.value.text);
    const i = tracks.findIndex(({ id }) => id === wanted);
    if (i >= 0) view.select(i, true);
    const ends = [
      player.changes.follow(() => view.map.redraw()),
      search.follow(({ text }) => view.seek(text)),
    ];
    return () => {
      for (const end of ends) end();
      left.abort();
    };
  }, []);
  return html`<h1 class="sr-only">Map</h1><div class="map-place" ref=${root}></div>`;
}

/** Colourings, by a name of each track or by a number. */
function waysOf({ clusters, genres }) {
  const of = (part) => (i) => tracks[i][part],
    names = new Map(clusters.map(({ id, name }) => [id, name]));
  const scales = [...new Set(tracks.flatMap((track) => Object.keys(track.scales ?? {})))],
    scale = (name) => ({ label: capital(name), number: (i) => tracks[i].scales?.[name], unit: "" });
  return {
    genre: { label: "Genre", name: of("genre"), none: "no genre", order: genres },
    cluster: { label: "Cluster", name: (i) => names.get(tracks[i].cluster), none: "no cluster" },
    word: { label: "Mood and sound", name: of("word"), none: "nothing stands out" },
    tempo: { label: "Tempo", number: of("tempo"), unit: " bpm" },
    key: { label: "Key", name: of("key"), none: "no key" },
    loudness: { label: "Loudness", number: of("loudness"), unit: " LUFS" },
    year: { label: "Year", number: of("year"), unit: "" },
    artist: { label: "Artist", name: of("artist"), none: "no artist" },
    ...Object.fromEntries(scales.map((name) => [name, scale(name)])),
  };
}

function open(root, answer, signal) {
  tracks = answer.tracks;
  const ways = waysOf(answer),
    { tempo, key } = measured;
  view = new MapView(root, {
    x: Float32Array.from(tracks, ({ x }) => x),
    y: Float32Array.from(tracks, ({ y }) => y),
    ways,
    title: (i) => titleOf(tracks[i]),
    artist: (i) => artistOf(tracks[i]),
    about: (i) => [tracks[i].genre, tempo(tracks[i]), key(tracks[i])],
    text: (i) => `${tracks[i].artist ?? ""} ${tracks[i].title}`,
    keep,
    signal,
    side: element("div", { class: "side" }),
    on: {
      changed: ({ side, map }) => render(html`<${Side} map=${map} ways=${ways} />`, side),
      open(i) {
        location.hash = "#/track/" + tracks[i].id;
      },
      play: (i) => player.playNow({ track: tracks[i] }),
      playing: () => tracks.findIndex(({ id }) => id === player.current()?.track.id),
      say: announce,
    },
  });
}

// ---- beside the map
function Side({ map: { chosen, selected }, ways }) {
  if (!chosen.size && selected < 0)
    return html`<p class="faint">
      Tracks that sound alike lie together. Press one for details; draw a lasso around many to play them.
    </p>`;
  return html`
    ${chosen.size > 0 && html`<${Chosen} picked=${[...chosen].map((i) => tracks[i])} />`}
    ${selected >= 0 && html`<${Selected} i=${selected} cluster=${ways.cluster.name(selected)} />`}`;
}

function Chosen({ picked }) {
  const entries = () => picked.map((track) => ({ track })),
    length = picked.reduce((sum, { seconds }) => sum + (seconds ?? 0), 0);
  return html`
    <section class="chosen">
      <div class="head">
        <h2>${count(picked.length, "track")} selected</h2><span class="faint">${clock(length)}</span>
        <${IconButton} icon="close" label="Select nothing" onClick=${() => view.choose([])} />
      </div>
      <div class="part-acts">
        <button type="button" class="primary small" onClick=${() => player.play(entries())}>Play</button>
        <button type="button" class="small" id="lasso-queue" onClick=${() => player.enqueue(entries())}>
          Play next
        </button>
        <${RadioButton} tracks=${picked} class="small" />
      </div>
      <ul class="rows small">
        ${picked.slice(0, 100).map((track) => html`<${Row} key=${track.id} track=${track} />`)}
      </ul>
    </section>`;
}

function Selected({ i, cluster }) {
  const track = tracks[i],
    facts = [track.genre, cluster && `cluster “${cluster}”`, measured.tempo(track), track.year];
  return html`
    <section>
      <ul class="rows"><${Row} track=${track} /></ul>
      <p class="faint">${joined(facts)}</p>
    </section>`;
}

/** Brings what is selected into view. */
export const showFound = () => view.showFound();

// For tests and for measuring.
export const measure = (frames) => view.map.measure(frames);
export function placeOf(id) {
  const box = view.map.over.getBoundingClientRect(),
    [x, y] = view.map.toScreen(tracks.findIndex((track) => track.id === id));
  return [x + box.left, y + box.top];
}
