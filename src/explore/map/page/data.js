// The data of the map: typed arrays, names, positions.
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
  folders = column(raw.folders);
const predicted = column(raw.predicted),
  clusters = column(raw.clusters),
  genreSets = column(raw.genre_sets);
const genreNames = raw.genres;
const years = new Int16Array(unpack(raw.years)),
  seconds = new Float32Array(unpack(raw.seconds));
const probability = new Uint8Array(unpack(raw.probability));
const neighbours = new Uint32Array(unpack(raw.neighbours)),
  similarity = new Int16Array(unpack(raw.similarity));

function neighboursOf(i) {
  const row = neighbours.subarray(i * K, (i + 1) * K),
    end = row.indexOf(NONE);
  return row.subarray(0, end < 0 ? K : end);
}
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
// A path as a file URL: each part is escaped, as names may contain # and ?.
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

// The text that search looks through: without predictions and clusters, as entries do not show these.
let haystack = null;
function searchText(i) {
  haystack ??= new Array(N);
  haystack[i] ??= fold(
    [title(i), artist(i), named(albums, i), genresOf(i).join(" "), raw.files[i]].join(" \n "),
  );
  return haystack[i];
}

// Colourings; names are in the order of the colours, genres in the same order for tags and predictions.
const byColumn = (part, order = part.names) => ({ order, name: (i) => named(part, i) });
const MODES = {
  genre: { label: "Genre", none: "no genre", order: genreNames, name: (i) => genresOf(i)[0] },
  predicted: {
    label: "Predicted genre",
    none: "no prediction",
    ...byColumn(predicted, genreNames),
  },
  cluster: { label: "Cluster", none: "noise", ...byColumn(clusters) },
  artist: { label: "Artist", none: "no artist", ...byColumn(artists) },
  year: { label: "Year", none: "no year", numbers: Float64Array.from(years, (y) => y || NaN) },
};
// Only colourings for which some track has a value.
const usable = Object.keys(MODES).filter((key) => {
  const { numbers, name } = MODES[key];
  for (let i = 0; i < N; i++) if (numbers ? numbers[i] : name(i)) return true;
  return false;
});
if (!usable.length) usable.push("genre");
