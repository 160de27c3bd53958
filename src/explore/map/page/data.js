// The page of `voisin map`: its data, and what stands beside the map.
const $ = (id) => document.getElementById(id);
const raw = JSON.parse($("data").textContent);
const { n: N, k: K } = raw,
  NONE = 0xffffffff;

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
const column = ({ names, index }) => ({ names, index: new Uint32Array(bytes(index)) });
const named = ({ names, index }, i) => names[index[i]] ?? "";
const places = new Uint16Array(bytes(raw.xy)),
  [x0, y0, x1, y1] = raw.bounds;
const place = (low, high, axis) =>
  Float32Array.from({ length: N }, (_, i) => low + (places[2 * i + axis] / 65535) * (high - low));
const artists = column(raw.artists),
  albums = column(raw.albums),
  folders = column(raw.folders),
  predicted = column(raw.predicted),
  clusters = column(raw.clusters),
  genreSets = column(raw.genre_sets);
const years = new Int16Array(bytes(raw.years)),
  seconds = new Float32Array(bytes(raw.seconds)),
  probability = new Uint8Array(bytes(raw.probability)),
  neighbours = new Uint32Array(bytes(raw.neighbours)),
  similarity = new Int16Array(bytes(raw.similarity));

const title = (i) => raw.titles[i] || raw.files[i];
const artist = (i) => named(artists, i);
const display = (i) => (artist(i) ? artist(i) + " – " + title(i) : title(i));
const genresOf = (i) => [...named(genreSets, i)].map((g) => raw.genres[g]);
const neighboursOf = (i) => [...neighbours.subarray(i * K, (i + 1) * K)].filter((j) => j !== NONE);
function pathOf(i) {
  const folder = named(folders, i);
  return folder.replace(/([^/])$/, "$1/") + raw.files[i];
}
function clock(s) {
  const t = Math.round(s),
    two = (n) => String(n).padStart(2, "0"),
    hours = Math.floor(t / 3600),
    minutes = Math.floor(t / 60) % 60;
  return (hours ? hours + ":" + two(minutes) : minutes) + ":" + two(t % 60);
}
const count = (n) => n.toLocaleString("en") + (n === 1 ? " track" : " tracks");

// Genres have the same colours in tags and in predictions.
const WAYS = {
  genre: { label: "Genre", none: "no genre", order: raw.genres, name: (i) => genresOf(i)[0] },
  predicted: {
    label: "Predicted genre",
    none: "no prediction",
    order: raw.genres,
    name: (i) => named(predicted, i),
  },
  cluster: { label: "Cluster", none: "noise", name: (i) => named(clusters, i) },
  artist: { label: "Artist", none: "no artist", name: artist },
  year: { label: "Year", unit: "", number: (i) => years[i] || null },
};

// ---- the playlist
// Control characters would begin a new line or a directive; a path that begins with # would be a comment.
const oneLine = (text) => text.replace(/[\u0000-\u001f\u007f\u0085\u2028\u2029]+/g, " ");
function save(rows) {
  const entry = (i) => {
    const path = pathOf(i).replace(/^(?=[#\s])/, "./");
    if (path !== oneLine(path)) return "";
    return `#EXTINF:${Math.round(seconds[i])},${oneLine(display(i))}\n${path}\n`;
  };
  const text = "#EXTM3U\n" + rows.map(entry).join(""),
    href = URL.createObjectURL(new Blob([text], { type: "audio/x-mpegurl" }));
  element("a", { href, download: "selection.m3u8" }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10000);
}

// ---- beside the map
const row = (view, i, end = "") =>
  element(
    "li",
    {},
    element(
      "button",
      { type: "button", class: "plain-button", onclick: () => view.select(i, true) },
      element("span", { dir: "auto" }, display(i)),
      element("small", {}, end),
    ),
  );
function chosen(view, rows) {
  const length = clock(rows.reduce((sum, i) => sum + seconds[i], 0));
  return element(
    "section",
    { class: "chosen" },
    element("h2", {}, `${count(rows.length)} selected`),
    element("p", { class: "faint" }, length),
    element(
      "div",
      { class: "part-acts" },
      button("Save as M3U8", () => save(rows), { id: "save" }),
      button("Select nothing", () => view.choose([])),
    ),
    element("ul", {}, ...rows.slice(0, 100).map((i) => row(view, i))),
  );
}
function details(view, i) {
  const likely = probability[i] ? ` (${probability[i]} %)` : "";
  const facts = [
    ["Album", named(albums, i)],
    ["Genre", genresOf(i).join(", ")],
    ["Predicted", named(predicted, i) && named(predicted, i) + likely],
    ["Cluster", named(clusters, i)],
    ["Year", years[i] || ""],
    ["Length", seconds[i] ? clock(seconds[i]) : ""],
    ["File", pathOf(i)],
  ].filter(([, value]) => value);
  const nearest = neighboursOf(i).map((j, k) =>
    row(view, j, (similarity[i * K + k] / 10000).toFixed(2)),
  );
  return element(
    "section",
    { id: "track" },
    element("h2", { dir: "auto" }, display(i)),
    element(
      "dl",
      { class: "facts tall" },
      ...facts.map(([name, value]) =>
        element("div", {}, element("dt", {}, name), element("dd", { dir: "auto" }, value)),
      ),
    ),
    element("h3", {}, "Nearest tracks, with their similarity"),
    element("ol", { id: "neighbours" }, ...nearest),
  );
}
function changed(view) {
  const { selected, chosen: set } = view.map,
    parts = [];
  if (set.size) parts.push(chosen(view, [...set]));
  if (selected >= 0) parts.push(details(view, selected));
  if (!parts.length)
    parts.push(
      "Tracks that sound alike lie together. Press one for its nearest; draw a lasso around many to save them.",
    );
  view.side.replaceChildren(...parts);
  view.side.scrollTop = 0;
}

// For tests and for measuring, too.
window.voisinMap = new MapView($("root"), {
  x: place(x0, x1, 0),
  y: place(y0, y1, 1),
  ways: WAYS,
  title,
  artist,
  about: (i) => [genresOf(i).join(", "), named(clusters, i) && `cluster ${named(clusters, i)}`],
  text: (i) => [display(i), named(albums, i), ...genresOf(i), raw.files[i]].join("\n"),
  neighbours: neighboursOf,
  keep: { get: (_, other) => other, set() {} },
  side: element("aside", { class: "side", "aria-label": "Selected tracks", tabindex: 0 }),
  on: {
    changed,
    open() {},
    say(text) {
      $("status").textContent = text;
    },
  },
});
const view = window.voisinMap;
$("search").addEventListener("input", (event) => view.seek(event.target.value));
$("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  view.showFound();
});
