"use strict";
// What the map knows: typed arrays, names, and which tracks lie where.
const raw = JSON.parse(document.getElementById("data").textContent);
const N = raw.n,
  K = raw.k,
  NONE = 0xffffffff;

function unpack(text) {
  const characters = atob(text),
    out = new Uint8Array(characters.length);
  for (let i = 0; i < out.length; i++) out[i] = characters.charCodeAt(i);
  return out.buffer;
}
function column(part) {
  return { names: part.names, index: new Uint32Array(unpack(part.index)) };
}

const X = new Float32Array(N),
  Y = new Float32Array(N);
{
  const packed = new Uint16Array(unpack(raw.xy)),
    [x0, y0, x1, y1] = raw.bounds;
  for (let i = 0; i < N; i++) {
    X[i] = x0 + (packed[2 * i] / 65535) * (x1 - x0);
    Y[i] = y0 + (packed[2 * i + 1] / 65535) * (y1 - y0);
  }
}
const ids = new Float64Array(unpack(raw.ids));
const artists = column(raw.artists),
  albums = column(raw.albums),
  folders = column(raw.folders),
  places = column(raw.places);
const predicted = column(raw.predicted),
  clusters = column(raw.clusters),
  words = column(raw.words),
  genreSets = column(raw.genre_sets);
const genreNames = raw.genres;
const years = new Int16Array(unpack(raw.years)),
  seconds = new Float32Array(unpack(raw.seconds));
const probability = new Uint8Array(unpack(raw.probability));
const neighbours = new Uint32Array(unpack(raw.neighbours)),
  similarity = new Int16Array(unpack(raw.similarity));

const named = (part, i) => (part.index[i] === NONE ? "" : part.names[part.index[i]]);
const title = (i) => raw.titles[i] || raw.files[i];
const artist = (i) => named(artists, i);
const display = (i) => (artist(i) ? artist(i) + " – " + title(i) : title(i));
const genresOf = (i) =>
  genreSets.index[i] === NONE ? [] : genreSets.names[genreSets.index[i]].map((g) => genreNames[g]);
function pathOf(i) {
  const folder = named(folders, i);
  return folder ? (folder.endsWith("/") ? folder : folder + "/") + raw.files[i] : raw.files[i];
}
// A path as the address of a file: each part escaped, so that # and ? in names are names.
function addressOf(i) {
  const path = pathOf(i),
    drive = /^[A-Za-z]:\//.test(path);
  const parts = path.split("/").map((part) => encodeURIComponent(part).replace(/'/g, "%27"));
  if (drive) return "file:///" + path.slice(0, 2) + "/" + parts.slice(1).join("/");
  if (path.startsWith("/")) return "file://" + parts.join("/");
  return "./" + parts.join("/");
}
function clock(s) {
  const t = Math.round(s),
    two = (n) => String(n).padStart(2, "0"),
    h = Math.floor(t / 3600),
    m = Math.floor(t / 60) % 60;
  return (h ? h + ":" + two(m) : m) + ":" + two(t % 60);
}

// The text that search looks through, in lower case without accents.
const plain = (text) =>
  text
    .normalize("NFD")
    .replace(/[\u0300-\u036f]/g, "")
    .toLowerCase();
let haystack = null;
function searchText(i) {
  haystack ??= new Array(N);
  haystack[i] ??= plain(
    [
      title(i),
      artist(i),
      named(albums, i),
      genresOf(i).join(" "),
      named(predicted, i),
      named(clusters, i),
      named(words, i),
      raw.files[i],
    ].join(" \n "),
  );
  return haystack[i];
}

// A grid over the map: which tracks lie in a cell.
const grid = (() => {
  const side = Math.max(1, Math.ceil(Math.sqrt(N / 3))),
    [x0, y0, x1, y1] = raw.bounds;
  const cellOf = (v, low, high) =>
    Math.min(side - 1, Math.max(0, Math.floor(((v - low) / (high - low || 1)) * side)));
  const first = new Uint32Array(side * side + 1),
    members = new Uint32Array(N),
    cell = new Uint32Array(N);
  for (let i = 0; i < N; i++) {
    cell[i] = cellOf(Y[i], y0, y1) * side + cellOf(X[i], x0, x1);
    first[cell[i] + 1]++;
  }
  for (let c = 0; c < side * side; c++) first[c + 1] += first[c];
  const next = first.slice();
  for (let i = 0; i < N; i++) members[next[cell[i]]++] = i;
  return {
    // The nearest track within a distance for which `allowed` holds, or -1.
    nearest(x, y, radius, allowed) {
      let best = -1,
        least = radius * radius;
      const cx0 = cellOf(x - radius, x0, x1),
        cx1 = cellOf(x + radius, x0, x1),
        cy1 = cellOf(y + radius, y0, y1);
      for (let cy = cellOf(y - radius, y0, y1); cy <= cy1; cy++)
        for (let cx = cx0; cx <= cx1; cx++) {
          const c = cy * side + cx;
          for (let m = first[c]; m < first[c + 1]; m++) {
            const i = members[m],
              d = (X[i] - x) ** 2 + (Y[i] - y) ** 2;
            if (d <= least && allowed(i)) {
              least = d;
              best = i;
            }
          }
        }
      return best;
    },
  };
})();

// Ways to colour: a category number per track (-1: none) and the categories' names.
function byColumn(part) {
  return () => ({ names: part.names, of: (i) => (part.index[i] === NONE ? -1 : part.index[i]) });
}
const MODES = {
  genre: {
    label: "Genre",
    none: "no genre",
    make: () => ({
      names: genreNames,
      of: (i) => (genreSets.index[i] === NONE ? -1 : genreSets.names[genreSets.index[i]][0]),
    }),
  },
  predicted: { label: "Predicted genre", none: "no prediction", make: byColumn(predicted) },
  cluster: { label: "Cluster", none: "noise", make: byColumn(clusters) },
  word: { label: "Word", none: "no word", make: byColumn(words) },
  artist: { label: "Artist", none: "no artist", make: byColumn(artists) },
  year: { label: "Year", none: "no year", years: true },
  folder: { label: "Folder", none: "no folder", make: byColumn(places) },
  agreement: {
    label: "Tag and prediction",
    none: "not both known",
    fixed: true,
    make: () => ({
      names: ["agree", "differ"],
      of: (i) => {
        const tags = genresOf(i),
          guess = named(predicted, i);
        return !tags.length || !guess ? -1 : tags.some((t) => plain(t) === plain(guess)) ? 0 : 1;
      },
    }),
  },
};
// Only ways that tell something.
const usable = Object.keys(MODES).filter((key) => {
  if (key === "year") return years.some((y) => y !== 0);
  if (key === "agreement") return predicted.names.length > 0 && genreNames.length > 0;
  return (
    {
      genre: genreNames,
      predicted: predicted.names,
      cluster: clusters.names,
      word: words.names,
      artist: artists.names,
      folder: places.names,
    }[key].length > 0
  );
});
if (!usable.length) usable.push("genre");
const FIRST_MODE = usable.includes(raw.mode) ? raw.mode : usable[0];
