// Artists and albums: their tracks, and similar ones.
import { count, h, icon, joined, keep, name, segments, span, toast } from "./dom.js";
import { request, requestAll } from "./api.js";
import { mark } from "./playing_marks.js";
import { cover } from "./cover.js";
import { LongGrid, tile } from "./tiles.js";
import { row } from "./tracks.js";
import { empty, framed, load, sentence } from "./states.js";
import * as list from "./list.js";
import * as player from "./player.js";

/** Similar artists or albums that are shown, and tracks. */
const NEAR = 12,
  OWN = 1000;
/** Orders of a grid; the first is the server's. */
const ORDERS = {
  albums: { artist: "Artist", name: "Name", year: "Year, newest first", tracks: "Most tracks" },
  artists: { artist: "Name", tracks: "Most tracks" },
};
const sorted = (items, order) =>
  ({
    name: () => items.toSorted((a, b) => titleOf(a).localeCompare(titleOf(b))),
    year: () => items.toSorted((a, b) => (b.year ?? 0) - (a.year ?? 0)),
    tracks: () => items.toSorted((a, b) => b.tracks - a.tracks),
  })[order]?.() ?? items;
const KINDS = {
  albums: {
    one: "album",
    title: "Albums",
    none: "No track of this library has an album in its tags.",
    about:
      "Which albums sound alike: each track of one is compared with the most similar track of the other. Select one for details.",
  },
  artists: {
    one: "artist",
    title: "Artists",
    none: "No track of this library has an artist in its tags.",
    about:
      "Which artists sound alike: each track of one is compared with the most similar track of the other. Select one for details.",
  },
};
let parts = null;

/** Its name in the server's queries. */
const nameOf = (one) =>
  one.album === undefined ? one.artist : one.artist ? `${one.artist} – ${one.album}` : one.album;
const titleOf = (one) => one.album ?? one.artist;
export const address = (kind, name) => `#/${kind}/` + encodeURIComponent(name);
const link = (kind, one) =>
  h(
    "a",
    { href: address(kind, nameOf(one)) },
    name(titleOf(one), "b"),
    one.album !== undefined && one.artist ? [" – ", name(one.artist)] : null,
  );

export function show(root, route, signal) {
  parts = null;
  const kind = route.place,
    { one, title, none, about } = KINDS[kind];
  const intro = h("p", { class: "faint" }, about),
    frame = framed(
      "albums",
      title,
      segments(
        "Whose tracks",
        Object.entries(KINDS).map(([of, { title }]) => ["#/" + of, title, of === kind]),
      ),
      intro,
    );
  load(
    root,
    signal,
    (waiting) => requestAll(kind, ["items"], { signal, waiting }),
    (found) => {
      if (!found.items.length) return root.replaceChildren(frame(empty(`No ${kind} yet`, none)));
      const total = h("p", { class: "faint", role: "status" }),
        all = h("ul", { class: "albums" });
      const narrow = h("input", {
        type: "search",
        placeholder: `Search these ${kind}`,
        "aria-label": `Search these ${kind}`,
        autocomplete: "off",
        spellcheck: "false",
        oninput: () => draw(),
      });
      const order = h(
        "select",
        {
          "aria-label": "Order",
          onchange: () => {
            keep.set("order-" + kind, order.value);
            draw();
          },
        },
        Object.entries(ORDERS[kind]).map(([value, label]) => h("option", { value }, label)),
      );
      const kept = keep.get("order-" + kind, "artist");
      order.value = ORDERS[kind][kept] ? kept : "artist";
      const detail = h("section", { class: "genre-detail", "aria-live": "polite" }),
        tools = h("div", { class: "narrow" }, narrow, order, total);
      const page = frame(detail, tools, all);
      root.replaceChildren(page);
      const grid = new LongGrid(page, all, (item) => makerTile(kind, item), signal);
      const draw = () => {
        const words = narrow.value.trim().toLowerCase().split(/\s+/);
        const fits = found.items.filter((item) =>
          words.every((word) => nameOf(item).toLowerCase().includes(word)),
        );
        total.textContent = count(fits.length, one);
        grid.show(sorted(fits, order.value));
      };
      draw();
      parts = { kind, detail, signal, all: found.items, page, grid, of_all: [intro, tools, all] };
      update(route);
      return null;
    },
    frame,
  );
}

/** The query for the tracks of one. */
const ownQuestion = (own) =>
  own.album === undefined
    ? { artist: nameOf(own), sort: "album", limit: OWN }
    : { query: titleOf(own), sort: "album", limit: OWN };
const ownOf = (own, tracks) =>
  own.album === undefined
    ? tracks
    : tracks.filter(
        (track) =>
          track.album?.trim() === own.album &&
          (!own.artist || !track.artist || (track.album_artist ?? track.artist) === own.artist),
      );

const makerTile = (kind, item) =>
  tile({
    track: { id: null, ...item.medoid, artist: item.artist, album: item.album },
    kind,
    round: kind === "artists",
    title: titleOf(item),
    below: kind === "albums" ? joined([item.artist, item.year]) : count(item.tracks, "track"),
    href: address(kind, nameOf(item)),
    play: async () => {
      try {
        const found = await request("tracks", { query: ownQuestion(item) });
        player.play(ownOf(item, found.tracks).map((track) => ({ track })));
      } catch (error) {
        toast(sentence(error.message));
      }
    },
  });

/** The one of this name; of several artists in a text, the first. */
function named(name) {
  const exact = parts.all.find((one) => nameOf(one) === name),
    folded = name.toLowerCase();
  if (exact || parts.kind !== "artists") return exact;
  return parts.all
    .filter((one) => one.artist && folded.startsWith(one.artist.toLowerCase()))
    .toSorted((a, b) => b.artist.length - a.artist.length)[0];
}

export function update(route) {
  if (!parts) return;
  const { kind, detail, signal, page, grid, of_all } = parts,
    own = named(decodeURIComponent(route.parts[1] ?? ""));
  detail.replaceChildren();
  // Either the grid, or one with its tracks and neighbours.
  for (const part of of_all) part.hidden = Boolean(own);
  if (!own) {
    page.scrollTop = parts.top ?? 0;
    grid.draw();
    return;
  }
  parts.top = page.scrollTop || parts.top;
  page.scrollTop = 0;
  const whole = nameOf(own),
    title = titleOf(own),
    acts = h("div", { class: "acts" }),
    tracks = h("div", {}),
    near = h("div", {});
  const length = h("span", {});
  detail.append(
    h(
      "div",
      { class: "card-head maker-head" },
      h(
        "a",
        { class: "quiet back-home", href: "#/" + kind, "aria-label": `Back to all ${kind}` },
        icon("back"),
      ),
      h(
        "div",
        { class: kind === "artists" ? "is-round" : "" },
        cover({ id: null, ...own.medoid, artist: own.artist, album: own.album }, true),
      ),
      h(
        "div",
        { class: "words" },
        name(title, "h2", { title }),
        own.album !== undefined && own.artist
          ? h("p", { class: "by" }, name(own.artist, "a", { href: address("artists", own.artist) }))
          : null,
        h("p", { class: "faint" }, joined([own.year, count(own.tracks, "track"), length])),
        acts,
      ),
    ),
    tracks,
    h("h2", {}, "Similar"),
    near,
  );
  load(
    tracks,
    signal,
    (waiting) => request("tracks", { query: ownQuestion(own), signal, waiting }),
    (found) => {
      const all = ownOf(own, found.tracks),
        of_all = all.map((track) => ({ track }));
      length.textContent = span(all.reduce((sum, track) => sum + (track.seconds ?? 0), 0));
      acts.replaceChildren(
        h(
          "button",
          { type: "button", class: "primary", id: "play-own", onclick: () => player.play(of_all) },
          icon("play"),
          "Play",
        ),
        player.radioButton(() => all),
        h("button", { type: "button", onclick: () => list.add(all) }, icon("add"), "List"),
      );
      tracks.append(
        h(
          "ul",
          { class: "rows small own-tracks" },
          of_all.map((entry) => row(entry, { genre: false, all: () => of_all })),
        ),
      );
      mark();
      return null;
    },
  );
  load(
    near,
    signal,
    (waiting) => request(kind, { query: { name: whole, limit: NEAR }, signal, waiting }),
    ({ items }) => {
      if (!items.length)
        return near.append(
          empty("Nothing similar", `The library has no other ${KINDS[kind].one} yet.`),
        );
      near.append(
        h(
          "ul",
          { class: "kin" },
          items.map((one) =>
            h(
              "li",
              {},
              link(kind, one),
              h("i", { vars: { "--mid": Math.min(1, 1 - one.similarity) } }),
              h("span", {}, one.similarity.toFixed(2)),
            ),
          ),
        ),
      );
      mark();
      return null;
    },
  );
}
