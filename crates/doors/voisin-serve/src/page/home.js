// Home: recently added music, and a radio.
import { $, count, h, icon, toast } from "./dom.js";
import { first, request } from "./api.js";
import { address } from "./makers.js";
import { emptyLibrary } from "./listen.js";
import { isMissing } from "./missing.js";
import { mark } from "./playing_marks.js";
import * as player from "./player.js";
import { empty, framed, load, loadFirst, sentence } from "./states.js";
import { tile, trackTile } from "./tiles.js";
import { LongList } from "./tracks.js";

/** Covers of a row; tracks requested to fill a row with recent albums: at first, and if those are of too few albums. */
const SHELF = 18,
  LAST_ADDED = 48,
  MORE_ADDED = 300;
const added = (limit) => ({ sort: "added", reverse: true, limit });

const entries = (tracks) => tracks.map((track) => ({ track }));
const there = (tracks) => tracks.filter((track) => !isMissing(track.id));

const SHELVES = [
  {
    title: "Recently added",
    href: "#/added",
    known: () => first("home", "tracks", added(LAST_ADDED)),
    fetch: async (signal, waiting) => {
      const last = await request("tracks", { query: added(LAST_ADDED), signal, waiting });
      if (last.total <= LAST_ADDED || byAlbum(last.tracks).length >= SHELF) return last;
      return request("tracks", { query: added(MORE_ADDED), signal, waiting });
    },
  },
];

export function show(root, _route, signal) {
  const hour = new Date().getHours(),
    greeting =
      hour < 5 ? "Good night" : hour < 12 ? "Good morning" : hour < 18 ? "Hello" : "Good evening";
  const places = SHELVES.map((shelf) => ({ shelf, place: h("section", { class: "shelf" }) }));
  const content = h(
    "div",
    { class: "shelves" },
    places.map(({ place }) => place),
  );
  root.replaceChildren(
    framed(
      "home",
      greeting,
      h(
        "div",
        { class: "part-acts" },
        h(
          "button",
          {
            type: "button",
            class: "primary large",
            id: "radio-now",
            onclick: anyRadio,
          },
          icon("radio"),
          "Radio for now",
        ),
        h("a", { class: "button", href: "#/" }, icon("listen"), "All tracks"),
      ),
    )(content),
  );
  let isEmpty = false;
  for (const { shelf, place } of places) {
    const head = (total) =>
      h(
        "header",
        {},
        h("h2", {}, shelf.title),
        shelf.href && total > 0 ? h("a", { href: shelf.href }, "All") : null,
      );
    const body = h("div", {});
    place.replaceChildren(head(0), body);
    loadFirst(
      body,
      signal,
      shelf.known?.(),
      (waiting) => shelf.fetch(signal, waiting),
      ({ tracks, total }) => {
        const shown = there(tracks);
        if (!shown.length) {
          place.hidden = true;
          // The library is empty.
          if (!tracks.length && !isEmpty) {
            isEmpty = true;
            emptyLibrary(content, signal);
          }
          return;
        }
        place.replaceChildren(
          head(total),
          h("ul", { class: "covers", tabindex: 0, "aria-label": shelf.title }, albumTiles(shown)),
        );
        mark();
      },
    );
  }
}

const byAlbum = (tracks) => [
  ...Map.groupBy(tracks, (track) =>
    track.album ? `${track.album_artist ?? track.artist ?? ""} – ${track.album}` : track.id,
  ).values(),
];

/** One cover for each album of the tracks. */
function albumTiles(tracks) {
  return byAlbum(tracks)
    .slice(0, SHELF)
    .map((group) => {
      const [track] = group;
      if (group.length === 1)
        return trackTile(track, () => player.playFrom({ track }, entries(tracks)));
      const artist = track.album_artist ?? track.artist;
      return tile({
        track,
        kind: "album",
        title: track.album,
        below: artist ?? count(group.length, "track"),
        href: address("albums", artist ? `${artist} – ${track.album}` : track.album),
        play: () => player.play(entries(group)),
      });
    });
}

const LISTS = {
  added: {
    title: "Recently added",
    path: "tracks",
    query: { sort: "added", reverse: true },
  },
};

/** The full list of a row. */
export const lists = {
  show(root, route, signal) {
    const { title, path, query } = LISTS[route.place];
    const scroller = h("div", { class: "scroller", "data-scrolls": "" }),
      total = h("p", { class: "result", role: "status" });
    let first = [];
    const page = (after, limit) => request(path, { query: { ...query, limit, after }, signal });
    root.replaceChildren(
      h(
        "div",
        { class: "index home-list" },
        h(
          "header",
          { class: "page-head index-head" },
          h(
            "a",
            { class: "quiet back-home", href: "#/home", "aria-label": "Back to Home" },
            icon("back"),
          ),
          h("h1", {}, title),
          total,
          h("span", { class: "grow" }),
          h(
            "button",
            { type: "button", class: "small", onclick: () => player.play(entries(there(first))) },
            icon("play"),
            "Play",
          ),
          player.radioButton(() => there(first), { class: "small" }),
        ),
        scroller,
      ),
    );
    load(
      scroller,
      signal,
      () => page(undefined, 200),
      (found) => {
        first = found.tracks;
        total.textContent = count(found.total, "track");
        if (found.total) return new LongList(scroller, page, signal).start(found);
        return scroller.replaceChildren(empty("Nothing yet"));
      },
    );
    $("main").scrollTop = 0;
  },
};

/** A radio from one of the tracks added last, drawn at random. */
async function anyRadio() {
  try {
    const { tracks } = await request("tracks", { query: added(MORE_ADDED) });
    const all = there(tracks);
    if (all.length) player.playRadio([all[Math.floor(Math.random() * all.length)]]);
  } catch (error) {
    toast(sentence(error.message));
  }
}
