// Artists and albums: their tracks, which of them sound alike, and by which tracks.
import { count, h, icon, name, segments, toast } from "./dom.js";
import { ask, askAll } from "./api.js";
import { mark } from "./playing.js";
import { row } from "./tracks.js";
import { empty, framed, load, sentence } from "./states.js";
import * as list from "./list.js";
import * as player from "./player.js";

/** More rows would be read by nobody: the search narrows them. */
const MOST = 200;
/** Those near to one, and tracks of its own. */
const NEAR = 12,
  OWN = 100;
const KINDS = {
  albums: {
    one: "album",
    title: "Albums",
    none: "No track of this library names its album in its tags.",
    about:
      "Which albums sound alike: each track of one is compared with the most similar track of the other. Press one to hear why.",
  },
  artists: {
    one: "artist",
    title: "Artists",
    none: "No track of this library names its artist in its tags.",
    about:
      "Which artists sound alike: each track of one is compared with the most similar track of the other. Press one to hear why.",
  },
};
let parts = null;

/** What the server calls it by. */
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
  const frame = framed(
    "albums",
    title,
    segments(
      "Whose tracks",
      Object.entries(KINDS).map(([name, { title }]) => ["#/" + name, title, name === kind]),
    ),
    h("p", { class: "faint" }, about),
  );
  load(
    root,
    signal,
    (waiting) => askAll(kind, ["items"], { signal, waiting }),
    (found) => {
      if (!found.items.length) return root.replaceChildren(frame(empty(`No ${kind} yet`, none)));
      const told = h("p", { class: "faint", role: "status" }),
        all = h("ul", { class: "albums" });
      const narrow = h("input", {
        type: "search",
        placeholder: `Search these ${kind}`,
        "aria-label": `Search these ${kind}`,
        autocomplete: "off",
        spellcheck: "false",
        oninput: () => draw(),
      });
      const detail = h("section", { class: "genre-detail", "aria-live": "polite" });
      const draw = () => {
        const words = narrow.value.trim().toLowerCase().split(/\s+/);
        const fits = found.items.filter((item) =>
          words.every((word) => nameOf(item).toLowerCase().includes(word)),
        );
        told.textContent =
          count(fits.length, one) +
          (fits.length > MOST ? `, of which these are the first ${MOST}` : "");
        all.replaceChildren(
          ...fits
            .slice(0, MOST)
            .map((item) =>
              h(
                "li",
                {},
                link(kind, item),
                h(
                  "span",
                  { class: "faint" },
                  count(item.tracks, "track") +
                    (item.nearest ? ` · nearest: ${titleOf(item.nearest)}` : ""),
                ),
              ),
            ),
        );
      };
      draw();
      root.replaceChildren(frame(detail, h("div", { class: "narrow" }, narrow, told), all));
      parts = { kind, detail, signal, all: found.items };
      update(route);
      return null;
    },
    frame,
  );
}

/** The one of this name; a text that names several artists is the first one's. */
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
  const { kind, detail, signal } = parts,
    own = named(decodeURIComponent(route.parts[1] ?? ""));
  detail.replaceChildren();
  if (!own) return;
  const name = nameOf(own),
    title = titleOf(own),
    tracks = h("div", {}),
    near = h("div", {});
  const keep = async () => {
    // What no file may be called by no list may be.
    const as = `Near ${title}`.replace(/[/\\:*?"<>|]/g, "-").trim();
    try {
      await ask("lists/" + encodeURIComponent(as), {
        method: "PUT",
        body: { [kind]: { name } },
        signal,
        once: true,
      });
      toast(`“${as}” is kept: it is below the list`);
    } catch (error) {
      if (error.name !== "AbortError") toast(sentence(error.message));
    }
  };
  detail.append(
    h("h2", {}, title),
    h(
      "p",
      { class: "faint" },
      [own.album === undefined ? null : own.artist, count(own.tracks, "track")]
        .filter(Boolean)
        .join(" · "),
    ),
    tracks,
    h("h2", {}, "What is near"),
    h(
      "div",
      { class: "part-acts" },
      h(
        "button",
        { type: "button", class: "for-change", id: "keep-near", onclick: keep },
        icon("save"),
        "Keep it as a list",
      ),
    ),
    near,
  );
  const query =
    own.album === undefined
      ? { artist: name, sort: "album", limit: OWN }
      : { query: title, sort: "album", limit: OWN };
  load(
    tracks,
    signal,
    (waiting) => ask("tracks", { query, signal, waiting }),
    (found) => {
      const all =
        own.album === undefined
          ? found.tracks
          : found.tracks.filter((track) => track.album?.trim() === own.album);
      tracks.append(
        h(
          "div",
          { class: "part-acts" },
          h(
            "button",
            {
              type: "button",
              class: "primary",
              id: "play-own",
              onclick: () => player.play(all.map((track) => ({ track }))),
            },
            icon("play"),
            "Play",
          ),
          h("button", { type: "button", onclick: () => list.add(all) }, icon("add"), "List"),
        ),
        h(
          "ul",
          { class: "rows small own-tracks" },
          all.map((track) => row({ track })),
        ),
      );
      mark();
      return null;
    },
  );
  load(
    near,
    signal,
    (waiting) => ask(kind, { query: { name, limit: NEAR }, signal, waiting }),
    ({ items }) => {
      if (!items.length)
        return near.append(
          empty("Nothing is near", `The library holds no other ${KINDS[kind].one} yet.`),
        );
      near.append(
        h(
          "div",
          { class: "columns" },
          items.map((one) => {
            const pairs = one.because.filter((pair) => pair.own && pair.other);
            return h(
              "section",
              { class: "part" },
              h("h3", { title: `Similarity ${one.similarity.toFixed(2)}` }, link(kind, one)),
              h(
                "div",
                { class: "part-acts" },
                h(
                  "button",
                  {
                    type: "button",
                    class: "small",
                    onclick: () => player.play(pairs.map((pair) => ({ track: pair.other }))),
                  },
                  "Play what is near",
                ),
              ),
              h(
                "ul",
                { class: "rows small" },
                pairs.map((pair) =>
                  row({ track: pair.other }, { note: `like “${pair.own.title}”` }),
                ),
              ),
            );
          }),
        ),
      );
      mark();
      return null;
    },
  );
}
