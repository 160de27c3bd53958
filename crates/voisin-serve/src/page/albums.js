// Albums: which of them sound alike, and by which tracks.
import { count, h, percent } from "./dom.js";
import { ask, askAll } from "./api.js";
import { mark } from "./playing.js";
import { row } from "./tracks.js";
import { empty, load } from "./states.js";
import * as player from "./player.js";

/** More rows would be read by nobody: the search narrows them. */
const MOST = 200;
/** Albums near to one. */
const NEAR = 12;
let parts = null;

/** What the server calls an album by. */
const nameOf = one => one.artist ? `${one.artist} – ${one.album}` : one.album;
const link = one => h("a", { href: "#/albums/" + encodeURIComponent(nameOf(one)) }, h("b", {}, one.album), one.artist ? " – " + one.artist : "");

export function show(root, route, signal) {
  parts = null;
  load(root, signal, waiting => askAll("albums", ["items"], { signal, waiting }), found => {
    if (!found.items.length) return root.replaceChildren(empty("No albums yet", "No track of this library names its album in its tags."));
    const told = h("p", { class: "faint", role: "status" }), all = h("ul", { class: "albums" });
    const narrow = h("input", { type: "search", placeholder: "Search these albums", "aria-label": "Search these albums", autocomplete: "off", spellcheck: "false", oninput: () => draw() });
    const detail = h("section", { class: "genre-detail", "aria-live": "polite" });
    const draw = () => {
      const words = narrow.value.trim().toLowerCase().split(/\s+/);
      const fits = found.items.filter(one => words.every(word => nameOf(one).toLowerCase().includes(word)));
      told.textContent = count(fits.length, "album") + (fits.length > MOST ? `, of which these are the first ${MOST}` : "");
      all.replaceChildren(...fits.slice(0, MOST).map(one => h("li", {}, link(one), h("span", { class: "faint" }, count(one.tracks, "track") + (one.nearest ? ` · nearest: ${one.nearest.album}` : "")))));
    };
    draw();
    root.replaceChildren(h("div", { class: "page albums-page", "data-scrolls": "" },
      h("header", { class: "page-head" }, h("h1", {}, "Albums"), h("p", { class: "faint" }, "Which albums sound alike: each track of one is compared with the most similar track of the other. Press one to hear why.")),
      detail, h("div", { class: "narrow" }, narrow, told), all));
    parts = { detail, signal, all: found.items };
    update(route);
    return null;
  });
}

export function update(route) {
  if (!parts) return;
  const { detail, signal, all } = parts, name = decodeURIComponent(route.parts[1] ?? "");
  const own = all.find(one => nameOf(one) === name);
  detail.replaceChildren();
  if (!own) return;
  const place = h("div", {});
  detail.append(h("h2", {}, own.album), h("p", { class: "faint" }, [own.artist, count(own.tracks, "track"), own.cohesion === null ? null : `cohesion ${own.cohesion.toFixed(2)}`].filter(Boolean).join(" · ")), place);
  load(place, signal, waiting => ask("albums", { query: { name, limit: NEAR }, signal, waiting }), ({ items }) => {
    if (!items.length) return place.append(empty("Nothing is near", "The library holds no other album yet."));
    place.append(h("div", { class: "columns" }, items.map(one => {
      const pairs = one.because.filter(pair => pair.own && pair.other);
      return h("section", { class: "part" },
        h("h3", {}, link(one), ` ${percent(one.similarity)}`),
        h("div", { class: "part-acts" }, h("button", { type: "button", class: "small", onclick: () => player.play(pairs.map(pair => ({ track: pair.other }))) }, "Play what is near")),
        h("ul", { class: "rows small" }, pairs.map(pair => row({ track: pair.other }, { note: `like “${pair.own.title}”` }))));
    })));
    mark();
    return null;
  });
}
