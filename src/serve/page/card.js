// The card of a track: what it is, what it sounds like and why, and its neighbours.
import {
  changes,
  clock,
  count,
  h,
  icon,
  iconButton,
  joined,
  keep,
  measured,
  name,
  percent,
  toast,
} from "./dom.js";
import { request } from "./api.js";
import * as player from "./player.js";
import { artistOf, cover, titleOf } from "./cover.js";
import { mark } from "./playing_marks.js";
import { row } from "./tracks.js";
import { empty, load, sentence } from "./states.js";

const NEIGHBOURS = 15;

export function card(place, id, signal) {
  let latest = null;
  load(
    place,
    signal,
    (waiting) => request("show", { query: { track: "id:" + id, words: true }, signal, waiting }),
    (track) => {
      const genre = part("Genre"),
        near = part("Sounds like this");
      place.replaceChildren(
        h(
          "article",
          { class: "card" },
          head(track, { track }),
          facts(track),
          words(track),
          genre,
          near,
          name(track.path, "p", { class: "path faint" }),
        ),
      );
      mark();
      load(
        genre.lastChild,
        signal,
        (waiting) => request("classify", { body: { tracks: [{ id }] }, signal, waiting }),
        (answer) => genre.lastChild.append(reason(answer.items[0], track)),
      );
      const look = () => {
        latest?.abort();
        latest = new AbortController();
        const either = AbortSignal.any([signal, latest.signal]);
        const artist = keep.get("others", false) && track.artist ? [`!${track.artist}`] : [];
        neighbours(near.lastChild, either, (waiting) =>
          request("similar", {
            body: { seeds: [{ id }], limit: NEIGHBOURS, artist },
            signal: either,
            waiting,
          }),
        );
      };
      if (track.artist) near.lastChild.before(othersAlone(look));
      look();
    },
  );
}

/** The nearest tracks are often of the same album. */
const othersAlone = (changed) =>
  h(
    "label",
    { class: "inline others" },
    h("input", {
      type: "checkbox",
      checked: keep.get("others", false),
      onchange: (event) => {
        keep.set("others", event.target.checked);
        changed();
      },
    }),
    h("span", {}, "Only other artists"),
  );

function part(title) {
  return h("section", { class: "part" }, h("h3", {}, title), h("div", {}));
}

function head(track, entry) {
  const sounds = h("span", {}, "Play"),
    play = h(
      "button",
      { type: "button", class: "primary", onclick: () => player.playNow(entry) },
      icon("play"),
      sounds,
    );
  const show = () => {
    const plays = player.current()?.track.id === track.id && !player.paused();
    play.querySelector("use").setAttribute("href", plays ? "#i-pause" : "#i-play");
    sounds.textContent = plays ? "Pause" : "Play";
  };
  changes.on("change", () => {
    if (play.isConnected) show();
  });
  show();
  return h(
    "header",
    { class: "card-head" },
    h("a", { class: "back quiet", href: "#/", "aria-label": "Back to all tracks" }, icon("back")),
    cover(track, true),
    h(
      "div",
      { class: "words" },
      name(titleOf(track), "h2", { title: titleOf(track) }),
      h("p", { class: "by" }, name(artistOf(track))),
      h(
        "p",
        { class: "faint" },
        joined([track.album, track.year, track.seconds ? clock(track.seconds) : null]),
      ),
      h(
        "div",
        { class: "acts" },
        play,
        track.id !== null && player.radioButton(() => [track]),
        iconButton("after", "Play next", () => player.enqueue([entry]), { class: "boxed" }),
      ),
    ),
  );
}

function facts(track) {
  const all = [
    ["Tempo", measured.tempo(track)],
    ["Key", measured.key(track)],
    ["Loudness", measured.loudness(track)],
    ...Object.entries(track.scales ?? {}).map(([name, value]) => [
      name[0].toUpperCase() + name.slice(1).replaceAll("-", " "),
      String(Math.round(value)),
    ]),
    ["Tagged", track.genres?.length ? joined(track.genres, ", ") : null],
    ["Format", track.codec?.toUpperCase()],
    ["Licence", track.licence],
  ].filter((fact) => fact[1]);
  return h(
    "dl",
    { class: "facts" },
    all.map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value))),
  );
}

function words(track) {
  if (!track.words?.length) return null;
  return h(
    "section",
    { class: "part" },
    h("h3", {}, "Mood and sound"),
    h(
      "ul",
      { class: "chips" },
      distinct(track.words).map(({ word, percentile }) =>
        h(
          "li",
          {
            vars: { "--share": (percentile - 0.5) * 2 },
            title: `More than in ${percent(percentile)} of the library`,
          },
          word,
        ),
      ),
    ),
  );
}

/**
 * The least probability of a genre that heads the card. On the demo's music with three odd files, 16 of 24 answers above it
 * agreed with the tag, and 5 of 19 below it.
 */
const FITS = 0.5;
/** The outstanding words of a track that fits no genre. */
const soundsLike = (track) =>
  track?.words?.length
    ? h(
        "p",
        {},
        "It sounds like: ",
        joined(
          distinct(track.words).map(({ word }) => word),
          ", ",
        ),
      )
    : null;
/** Words without repeated spellings: hip hop, hip-hop. */
const distinct = (words) => {
  const known = new Set();
  return words.filter(({ word }) => {
    const folded = word.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
    return !known.has(folded) && known.add(folded);
  });
};

/** The predicted genre, its probability, and the evidence. */
export function reason(answer, track) {
  const all = Object.entries(answer.probabilities ?? answer.votes ?? {}).sort(
      (a, b) => b[1] - a[1],
    ),
    shares = all.filter(([, share]) => share >= 0.01).slice(0, 4);
  // The remaining genres, so that the bars add up to 1.
  const others = all.slice(shares.length).reduce((sum, [, share]) => sum + share, 0);
  const fits = answer.genre && answer.probability >= FITS;
  // The summary begins with the genre, which the heading already shows.
  const rest =
    answer.genre && answer.summary.startsWith(answer.genre)
      ? answer.summary
          .slice(answer.genre.length)
          .replace(/^[,\s]+/, "")
          .replace(/^\((.*)\)$/, "$1")
      : answer.summary;
  const tagged =
    track?.genres?.length &&
    answer.genre &&
    !track.genres.some((genre) => genre.toLowerCase() === answer.genre.toLowerCase());
  return h(
    "div",
    { class: "reason" },
    h(
      "p",
      { class: "answer" },
      fits
        ? name(answer.genre, "b")
        : h("b", {}, answer.source === "nobody" ? "Unknown" : "No genre fits"),
    ),
    fits ? null : soundsLike(track),
    h(
      "p",
      { class: "faint" },
      fits ? sentence(rest) : answer.genre ? `Likeliest: ${answer.summary}.` : sentence(rest),
      tagged && [" Tagged as ", joined(track.genres, ", "), "."],
    ),
    shares.length > 1 &&
      h(
        "ul",
        { class: "bars" },
        shares.map(([genre, share]) =>
          h(
            "li",
            { vars: { "--share": share } },
            name(genre, "span", { title: genre }),
            h("i", {}),
            h("span", {}, percent(share)),
          ),
        ),
        others >= 0.01 &&
          h(
            "li",
            { vars: { "--share": others } },
            h("span", { class: "faint" }, "All others"),
            h("i", {}),
            h("span", {}, percent(others)),
          ),
      ),
    answer.evidence?.length
      ? h(
          "details",
          {},
          h("summary", {}, `Why: ${count(answer.voters, "labelled track")} voted`),
          h(
            "ul",
            { class: "rows small" },
            answer.evidence
              .slice(0, 8)
              .map((voter) =>
                row(
                  { track: { id: voter.id, title: nameOf(voter), artist: voter.artist } },
                  { note: `${voter.genre} · ${percent(voter.weight)} of all votes` },
                ),
              ),
          ),
        )
      : null,
  );
}

/** The title alone: the row shows the artist beside it. */
const nameOf = (voter) =>
  voter.artist && voter.name.startsWith(voter.artist + " – ")
    ? voter.name.slice(voter.artist.length + 3)
    : voter.name;

function neighbours(place, signal, work) {
  load(place, signal, work, (answer) => {
    const tracks = answer.neighbours;
    if (!tracks.length)
      return place.append(empty("No similar tracks", "The library has no other track yet."));
    const all = tracks.map((track) => ({ track }));
    if (answer.note)
      place.append(h("p", { class: "faint", role: "status" }, sentence(answer.note)));
    place.append(
      h(
        "div",
        { class: "part-acts" },
        h(
          "button",
          { type: "button", class: "small", onclick: () => player.play(all) },
          "Play all",
        ),
        h(
          "button",
          { type: "button", class: "small", onclick: () => player.enqueue(all) },
          "Play all next",
        ),
      ),
      h(
        "ul",
        { class: "rows" },
        tracks.map((track) =>
          row(
            { track },
            {
              share: track.similarity,
              nearness: track.nearness,
              percentile: track.percentile,
              all: () => all,
            },
          ),
        ),
      ),
    );
    mark();
    return null;
  });
}

// ---- a file that is not in the library
let dropped = null;

/** Opens a file that was dropped or chosen; its card is the place `#/file`. */
export function take(file) {
  if (file.size > 200e6) return toast("A file may have at most 200 MB.");
  if (dropped) URL.revokeObjectURL(dropped.address);
  dropped = { file, address: URL.createObjectURL(file), answers: null };
  if (location.hash === "#/file") dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = "#/file";
  return null;
}

export function fileCard(place, signal) {
  if (!dropped)
    return place.replaceChildren(
      empty(
        "No file yet",
        "Drop one anywhere on this page, or choose one with the button at the top.",
      ),
    );
  const { file, address } = dropped,
    track = {
      id: null,
      title: file.name.replace(/\.[^.]+$/, ""),
      artist: "Your file",
      path: file.name,
    };
  const genre = part("Genre"),
    near = part("Sounds like this");
  place.replaceChildren(
    h(
      "article",
      { class: "card" },
      head(track, { track, address }),
      h("p", { class: "faint" }, "The server analyses this file and does not keep it."),
      genre,
      near,
    ),
  );
  // One after the other, neighbours first: both requests decode the whole file.
  dropped.answers ??= {};
  const mine = dropped.answers;
  neighbours(near.lastChild, signal, async (waiting) => {
    mine.near ??= await request("files/similar", {
      query: { limit: NEIGHBOURS },
      file,
      signal,
      waiting,
    });
    return mine.near;
  });
  return load(
    genre.lastChild,
    signal,
    async (waiting) => {
      mine.genre ??= await request("files/classify", { file, signal, waiting });
      return mine.genre;
    },
    (answer) => genre.lastChild.append(reason(answer.items[0])),
  );
}
