// The card of a track: its genre and its neighbours first, then what it sounds like and what is known about it.
import { html, useState } from "./html.js";
import { request } from "./api.js";
import {
  Cover,
  Empty,
  Icon,
  IconButton,
  Name,
  Part,
  artistOf,
  capital,
  clock,
  count,
  joined,
  loaded,
  measured,
  percent,
  sentence,
  titleOf,
  useAnswer,
} from "./parts.js";
import * as player from "./player.js";
import { Shared, keep, place, toast, useShared } from "./state.js";
import { PlayAll, RadioButton, Row } from "./tracks.js";

const NEIGHBOURS = 15;

export function Card({ id }) {
  const answer = useAnswer(
    (more) => request("show", { query: { track: "id:" + id, words: true }, ...more }),
    [id],
  );
  const genre = useAnswer(
    (more) => request("classify", { body: { tracks: [{ id }] }, ...more }),
    [id],
  );
  return loaded(
    answer,
    (track) => html`
      <article class="card">
        <${Head} track=${track} entry=${{ track }} />
        <${Part} title="Genre">
          ${loaded(genre, ({ items }) => html`<${Reason} answer=${items[0]} track=${track} />`)}
        <//>
        <${Near} track=${track} />
        <${Words} track=${track} />
        <${Facts} track=${track} />
        <${Name} as="p" class="path faint" text=${track.path} />
      </article>`,
  );
}

function Head({ track, entry }) {
  const { entry: now, isOn } = useShared(player.changes),
    plays = isOn && now?.track.id === track.id,
    title = titleOf(track);
  return html`
    <header class="card-head">
      <a class="back quiet" href="#/" aria-label="Back to all tracks"><${Icon} name="back" /></a>
      <${Cover} track=${track} large />
      <div class="words">
        <${Name} as="h2" title=${title} text=${title} />
        <${Name} as="p" class="by" text=${artistOf(track)} />
        <p class="faint">${joined([track.album, track.year, track.seconds && clock(track.seconds)])}</p>
        <div class="acts">
          <button type="button" class="primary" onClick=${() => player.playNow(entry)}>
            <${Icon} name=${plays ? "pause" : "play"} />${plays ? "Pause" : "Play"}
          </button>
          ${track.id !== null && html`<${RadioButton} tracks=${[track]} />`}
          <${IconButton} icon="after" class="boxed" label="Play next" onClick=${() => player.enqueue([entry])} />
        </div>
      </div>
    </header>`;
}

/** The nearest tracks; they are often of the same album. */
function Near({ track }) {
  const [others, setOthers] = useState(keep.get("others", false)),
    artist = others && track.artist ? [`!${track.artist}`] : [],
    body = { seeds: [{ id: track.id }], limit: NEIGHBOURS, artist };
  const answer = useAnswer((more) => request("similar", { body, ...more }), [track.id, others]);
  const choose = ({ target }) => {
    keep.set("others", target.checked);
    setOthers(target.checked);
  };
  const more = html`
    <label class="inline others">
      <input type="checkbox" checked=${others} onChange=${choose} /><span>Only other artists</span>
    </label>`;
  return html`
    <${Part} title="Sounds like this">
      ${loaded(answer, (found) => html`<${Neighbours} ...${found} more=${track.artist && more} />`)}
    <//>`;
}

function Neighbours({ neighbours, note, more }) {
  return html`
    ${note && html`<p class="faint" role="status">${sentence(note)}</p>`}
    <${PlayAll} tracks=${neighbours}>${more}<//>
    ${!neighbours.length && html`<p>No similar tracks: the library has no other yet.</p>`}
    <ul class="rows">
      ${neighbours.map((track) => html`<${Row} key=${track.id} track=${track} all=${neighbours} />`)}
    </ul>`;
}

/** Words without repeated spellings: hip hop, hip-hop. */
function distinct(words) {
  const known = new Set();
  return (words ?? []).filter(({ word }) => {
    const folded = word.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
    return !known.has(folded) && known.add(folded);
  });
}

function Words({ track }) {
  const words = distinct(track.words);
  if (!words.length) return null;
  return html`
    <${Part} title="Mood and sound">
      <ul class="chips">
        ${words.map(
          ({ word, percentile }) => html`
            <li style=${{ "--share": (percentile - 0.5) * 2 }}
              title=${`More than in ${percent(percentile)} of the library`}>${word}</li>`,
        )}
      </ul>
    <//>`;
}

function Facts({ track }) {
  const scales = Object.entries(track.scales ?? {}),
    all = [
      ["Tempo", measured.tempo(track)],
      ["Key", measured.key(track)],
      ["Loudness", measured.loudness(track)],
      ...scales.map(([name, value]) => [capital(name), String(Math.round(value))]),
      ["Tagged", track.genres?.length && joined(track.genres, ", ")],
      ["Format", track.codec?.toUpperCase()],
      ["Licence", track.licence],
    ].filter(([, value]) => value);
  return html`
    <dl class="facts">
      ${all.map(([label, value]) => html`<div><dt>${label}</dt><dd>${value}</dd></div>`)}
    </dl>`;
}

/**
 * The least probability of a genre that heads the card. On the demo's music with three odd files, 16 of 24 answers above it
 * agreed with the tag, and 5 of 19 below it.
 */
const FITS = 0.5;

/** What is said below the genre; the summary begins with the genre, which the heading already shows. */
function explained({ genre, summary }, fits) {
  if (genre && !fits) return `Likeliest: ${summary}.`;
  if (!genre || !summary.startsWith(genre)) return sentence(summary);
  const rest = summary.slice(genre.length).replace(/^[,\s]+/, "");
  return sentence(rest.replace(/^\((.*)\)$/, "$1"));
}

/** The predicted genre, its probability, and the evidence. */
export function Reason({ answer, track }) {
  const fits = answer.genre && answer.probability >= FITS,
    words = distinct(track?.words).map(({ word }) => word),
    isGenre = (genre) => genre.toLowerCase() === answer.genre.toLowerCase(),
    isOther = answer.genre && track?.genres?.length > 0 && !track.genres.some(isGenre);
  return html`
    <div class="reason">
      <p class="answer">
        ${
          fits
            ? html`<${Name} as="b" text=${answer.genre} />`
            : html`<b>${answer.source === "nobody" ? "Unknown" : "No genre fits"}</b>`
        }
      </p>
      ${!fits && words.length > 0 && html`<p>It sounds like: ${joined(words, ", ")}</p>`}
      <p class="faint">
        ${explained(answer, fits)}${isOther && [" Tagged as ", joined(track.genres, ", "), "."]}
      </p>
      <details>
        <summary>Why: ${count(answer.voters ?? 0, "labelled track")} voted</summary>
        <${Bars} ...${answer} />
        <ul class="rows small">${answer.evidence?.slice(0, 8).map(voter)}</ul>
      </details>
    </div>`;
}

/** The likeliest genres, and all others together, so that the bars add up to 1. */
function Bars({ probabilities, votes }) {
  const all = Object.entries(probabilities ?? votes ?? {}).sort((a, b) => b[1] - a[1]),
    shares = all.filter(([, share]) => share >= 0.01).slice(0, 4),
    others = all.slice(shares.length).reduce((sum, [, share]) => sum + share, 0);
  if (shares.length < 2) return null;
  const bar = (share, name) => html`
    <li style=${{ "--share": share }}>${name}<i></i><span>${percent(share)}</span></li>`;
  return html`
    <ul class="bars">
      ${shares.map(([genre, share]) => bar(share, html`<${Name} as="span" title=${genre} text=${genre} />`))}
      ${others >= 0.01 && bar(others, html`<span class="faint">All others</span>`)}
    </ul>`;
}

/** A labelled track that voted; the row shows the artist beside the title. */
function voter({ id, name, artist, genre, weight }) {
  const title = artist && name.startsWith(artist + " – ") ? name.slice(artist.length + 3) : name;
  return html`
    <${Row} key=${id} track=${{ id, title, artist }} note=${`${genre} · ${percent(weight)} of all votes`} />`;
}

// ---- a file that is not in the library
const dropped = new Shared(null);

/** Opens a file that was dropped or chosen; its card is the place `#/file`. */
export function take(file) {
  if (file.size > 200e6) return toast("A file may have at most 200 MB.");
  if (dropped.value) URL.revokeObjectURL(dropped.value.address);
  dropped.set({ file, address: URL.createObjectURL(file) });
  if (place.value.parts[0] !== "file") location.hash = "#/file";
  return undefined;
}

export function FileCard() {
  const now = useShared(dropped);
  return now
    ? html`<${OneFile} key=${now.address} ...${now} />`
    : html`<${Empty} title="No file yet">
        <p>Drop one on this page, or choose one with the button at the top.</p>
      <//>`;
}

function OneFile({ file, address }) {
  const title = file.name.replace(/\.[^.]+$/, ""),
    track = { id: null, title, artist: "Your file", path: file.name };
  // One after the other, neighbours first: both requests decode the whole file.
  const near = useAnswer(
    (more) => request("files/similar", { query: { limit: NEIGHBOURS }, file, ...more }),
    [file],
  );
  return html`
    <article class="card">
      <${Head} track=${track} entry=${{ track, address }} />
      <p class="faint">The server analyses this file and does not keep it.</p>
      <${Part} title="Genre">${near.value && html`<${GenreOfFile} file=${file} />`}<//>
      <${Part} title="Sounds like this">
        ${loaded(near, (found) => html`<${Neighbours} ...${found} />`)}
      <//>
    </article>`;
}

function GenreOfFile({ file }) {
  const answer = useAnswer((more) => request("files/classify", { file, ...more }), [file]);
  return loaded(answer, ({ items }) => html`<${Reason} answer=${items[0]} />`);
}
