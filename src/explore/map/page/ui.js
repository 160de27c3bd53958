// The user interface: mouse, touch, keys, lists, link, playlist. Every name from a tag is set as textContent.
const $ = (id) => document.getElementById(id);
const panel = $("panel"),
  overlay = $("overlay"),
  tip = $("tip"),
  status = $("status");
const announce = (text) => {
  status.textContent = text;
};
const count = (n) => n.toLocaleString("en") + (n === 1 ? " track" : " tracks");

// A right-to-left name must not move the figures behind it.
const isolated = (name) => "\u2068" + name + "\u2069";

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}
function entry(i, end, press) {
  const item = element("li"),
    button = element("button");
  button.type = "button";
  button.append(element("span", display(i), "grow"));
  if (end) button.append(element("span", end, "end"));
  button.addEventListener("click", press || (() => select(i, true)));
  item.append(button);
  return item;
}
let mode,
  query = "";
const map = new PointMap({
  points: $("points"),
  over: overlay,
  tip,
  x: X,
  y: Y,
  ink: { fore: "--fore", back: "--back", mark: "--mark", selected: "--mark" },
  // The tools cover the left edge: the map is fitted beside them.
  left: 60,
  covered() {
    const tools = $("tools");
    return [[0, 0, tools.offsetLeft + tools.offsetWidth + 4, tools.offsetTop + tools.offsetHeight]];
  },
  on: {
    moved: remember,
    below: drawNeighbours,
    above: drawTitles,
    tap: (i) => select(i, false),
    lassoed: (tracks, add) => lassoed(tracks, add && map.lassoing),
    lassoing(on) {
      $("lasso").setAttribute("aria-pressed", String(on));
      if (on) announce("Draw around the tracks to select; hold Shift to add.");
    },
    hover: (i) =>
      i >= 0 && [
        element("b", title(i)),
        ...[
          artist(i),
          genresOf(i).join(", "),
          named(clusters, i) && "cluster " + named(clusters, i),
        ]
          .filter(Boolean)
          .map((text) => element("span", text)),
      ],
  },
});

// ---- legend and colours
function setMode(key) {
  mode = usable.includes(key) ? key : usable[0];
  $("mode").value = mode;
  map.hidden.clear();
  map.colourBy(MODES[mode]);
  showLegend();
  remember();
}
function showLegend() {
  const list = $("legend");
  list.replaceChildren(
    ...map.legend.map((line) => {
      const item = element("li"),
        button = element("button"),
        dot = element("i");
      dot.style.background = toneOf(line.slot);
      button.type = "button";
      button.setAttribute("aria-pressed", String(!map.hidden.has(line.slot)));
      button.append(
        dot,
        element("span", line.name, "grow"),
        element("span", line.count.toLocaleString("en"), "end"),
      );
      button.addEventListener("click", () => {
        if (!map.hidden.delete(line.slot)) map.hidden.add(line.slot);
        filtered();
      });
      button.addEventListener("dblclick", () => {
        map.hidden = new Set(map.legend.map((l) => l.slot).filter((s) => s !== line.slot));
        filtered();
      });
      item.append(button);
      return item;
    }),
  );
  $("ramp").hidden = !map.numbers;
  if (map.numbers) {
    $("ramp-bar").style.background = rampCss();
    $("ramp-low").textContent = Math.round(map.range[0]);
    $("ramp-high").textContent = Math.round(map.range[1]);
  }
}
function filtered() {
  [...$("legend").children].forEach((item, k) =>
    item.firstChild.setAttribute("aria-pressed", String(!map.hidden.has(map.legend[k].slot))),
  );
  announce(count(map.filter(map.visible).length) + " shown.");
  map.paint();
}

// ---- search
function search(text) {
  query = text;
  const words = fold(text).split(/\s+/).filter(Boolean);
  $("found").hidden = !words.length;
  map.matches = null;
  if (words.length) {
    const found = map.filter((i) => words.every((word) => searchText(i).includes(word))),
      first = found.slice(0, 50);
    map.matches = new Uint8Array(N);
    found.forEach((i) => {
      map.matches[i] = 1;
    });
    $("found-count").textContent =
      count(found.length) +
      " found" +
      (found.length > first.length ? ", the first " + first.length + " listed" : "");
    $("found-list").replaceChildren(...first.map((i) => entry(i)));
    $("take-found").disabled = found.length === 0;
    announce(count(found.length) + " found.");
  }
  map.paint();
  remember();
}

// ---- one track
let cursor = -1;
function select(i, center) {
  map.selected = i;
  cursor = -1;
  const box = $("track");
  box.hidden = i < 0;
  const audio = $("audio");
  audio.pause();
  audio.removeAttribute("src");
  audio.hidden = true;
  $("audio-note").hidden = true;
  if (i >= 0) {
    $("track-title").textContent = display(i);
    const facts = [
      ["Album", named(albums, i)],
      ["Genre", genresOf(i).join(", ")],
      [
        "Predicted",
        named(predicted, i) &&
          isolated(named(predicted, i)) + (probability[i] ? " (" + probability[i] + " %)" : ""),
      ],
      ["Cluster", named(clusters, i)],
      ["Year", years[i] || ""],
      ["Length", seconds[i] ? clock(seconds[i]) : ""],
      ["File", pathOf(i)],
    ];
    $("track-facts").replaceChildren(
      ...facts
        .filter((f) => f[1])
        .flatMap(([name, value]) => [element("dt", name), element("dd", String(value))]),
    );
    const nearest = [...neighboursOf(i)].map((j, k) =>
      entry(j, (similarity[i * K + k] / 10000).toFixed(2)),
    );
    $("neighbours").replaceChildren(...nearest);
    showChoose();
    // In a small window the legend closes to make room for the track.
    if (panel.clientHeight < 620) $("legend-box").open = false;
    panel.scrollTop = 0;
    announce("Chosen: " + display(i) + ". " + nearest.length + " nearest tracks listed.");
    if (center) bring(i);
  }
  map.redraw();
  remember();
}
function showChoose() {
  if (map.selected >= 0)
    $("choose").textContent = map.chosen.has(map.selected)
      ? "Remove from selection"
      : "Add to selection";
}
// Moves the view to a track and its neighbours.
function bring(i) {
  const [x, y] = map.toScreen(i),
    off = Math.max(Math.abs(x / map.width - 0.5), Math.abs(y / map.height - 0.5));
  if (off > 0.35) map.glide(X[i], Y[i], Math.max(map.view.scale, map.wholeScale() * 3));
}
function play(i) {
  const audio = $("audio"),
    note = $("audio-note");
  audio.hidden = false;
  note.hidden = true;
  audio.src = addressOf(i);
  audio.play().catch(() => {
    note.hidden = false;
    note.textContent = "The file cannot be played from here: " + pathOf(i);
  });
}

// ---- selection and playlist
function chosenChanged() {
  const n = map.chosen.size,
    list = [...map.chosen];
  $("selected-count").textContent = n
    ? count(n) + ", " + clock(list.reduce((sum, i) => sum + seconds[i], 0)) + " selected"
    : "No tracks selected: draw a lasso, or hold Shift and drag.";
  $("save").disabled = $("clear").disabled = n === 0;
  $("selected-list").replaceChildren(...list.slice(0, 200).map((i) => entry(i)));
  showChoose();
  map.redraw();
}
function lassoed(tracks, add) {
  if (!add) map.chosen.clear();
  tracks.forEach((i) => map.chosen.add(i));
  chosenChanged();
  announce(count(map.chosen.size) + " selected.");
}
// Control characters would begin a new line or a directive; a path that begins with # would be a comment.
const oneLine = (text) => text.replace(/[\u0000-\u001f\u007f\u0085\u2028\u2029]+/g, " ");
function m3u8() {
  const lines = ["#EXTM3U"];
  for (const i of map.chosen) {
    const path = pathOf(i);
    if (path !== oneLine(path)) continue;
    lines.push(
      "#EXTINF:" + Math.round(seconds[i]) + "," + oneLine(display(i)),
      /^[#\s]/.test(path) ? "./" + path : path,
    );
  }
  return lines.join("\n") + "\n";
}
function save() {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([m3u8()], { type: "audio/x-mpegurl" }));
  link.download = "selection.m3u8";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  announce("Saved " + count(map.chosen.size) + " as selection.m3u8.");
}

// ---- overlays
function drawNeighbours() {
  const i = map.selected;
  if (i < 0 || !map.visible(i)) return;
  for (const j of neighboursOf(i)) {
    map.line(map.toScreen(i), map.toScreen(j), 1.6, map.inks.mark, map.inks.back);
    map.ring(j, 2.5, 1.6, map.inks.mark);
  }
}
// If few tracks are in sight, draws their titles where they cover no dot.
const MOST_TITLES = 60;
function drawTitles(taken) {
  if (!map.labels || (N > MOST_TITLES && map.view.scale < 1.5 * map.wholeScale())) return;
  const shown = map.inSight().filter(map.allowed),
    away = map.radius() + 5;
  if (shown.length > MOST_TITLES) return;
  const dots = map.crowd();
  map.pen.font = "12px " + map.family;
  map.pen.textAlign = "left";
  for (const i of shown) {
    const [x, y] = map.toScreen(i),
      text = cut(title(i), 28),
      wide = map.pen.measureText(text).width;
    for (const [left, middle] of [
      [x + away, y],
      [x - away - wide, y],
      [x - wide / 2, y - away - 6],
      [x - wide / 2, y + away + 6],
    ]) {
      const box = [left - 1, middle - 8, left + wide + 1, middle + 8];
      if (box[0] < 0 || box[2] > map.width || overlaps(box, taken) || dots(box)) continue;
      taken.push(box);
      map.write(text, left, middle);
      break;
    }
  }
}

// ---- link fragment
const NOTHING_HERE = "Nothing is here: 0 or ⤢ shows everything.";
let writing = 0;
function fragment() {
  const { x, y, scale } = map.view;
  const part = {
    x: x.toFixed(4),
    y: y.toFixed(4),
    z: (scale / map.wholeScale()).toFixed(3),
    c: mode,
  };
  if (map.selected >= 0) part.t = ids[map.selected];
  if (query) part.q = query;
  return "#" + new URLSearchParams(part);
}
function remember() {
  clearTimeout(writing);
  writing = setTimeout(() => {
    if (!map.inSight().length) announce(NOTHING_HERE);
    else if (status.textContent === NOTHING_HERE) announce("");
    try {
      history.replaceState(null, "", fragment());
    } catch {
      /* some viewers forbid it */
    }
  }, 200);
}
function recall() {
  const part = new URLSearchParams(location.hash.slice(1)),
    number = (key, other) => {
      const v = parseFloat(part.get(key));
      return Number.isFinite(v) ? v : other;
    };
  const [x, y] = map.middle();
  map.view.x = number("x", x);
  map.view.y = number("y", y);
  map.view.scale = map.wholeScale() * Math.min(2000, Math.max(0.25, number("z", 1)));
  if (part.has("c")) setMode(part.get("c"));
  if (part.get("q")) {
    $("search").value = part.get("q");
    search(part.get("q"));
  }
  if (part.has("t")) {
    const i = ids.indexOf(number("t", NaN));
    if (i >= 0) select(i, false);
  }
  map.redraw();
}

// ---- keys
function walk(step) {
  const list = [...$("neighbours").querySelectorAll("button")];
  if (map.selected < 0 || !list.length) return;
  cursor = (cursor + step + list.length) % list.length;
  const j = neighbours[map.selected * K + cursor];
  map.hover = j;
  announce("Nearest " + (cursor + 1) + ": " + display(j));
  map.redraw();
}
const KEYS = {
  ArrowLeft: () => map.pan(60, 0),
  ArrowRight: () => map.pan(-60, 0),
  ArrowUp: () => map.pan(0, 60),
  ArrowDown: () => map.pan(0, -60),
  "+": () => map.zoom(1.4),
  "=": () => map.zoom(1.4),
  "-": () => map.zoom(1 / 1.4),
  0: () => map.fit(),
  Enter() {
    const { width, height } = map;
    select(map.under([width / 2, height / 2], Math.hypot(width, height)), true);
  },
  n: () => walk(1),
  p: () => walk(cursor < 0 ? 0 : -1),
  l: () => map.setLasso(!map.lassoing),
  g: () => {
    if (map.selected >= 0 && cursor >= 0) select(neighbours[map.selected * K + cursor], true);
  },
  s: () => toggleChosen(map.selected),
};
function toggleChosen(i) {
  if (i < 0) return;
  if (!map.chosen.delete(i)) map.chosen.add(i);
  chosenChanged();
  announce(count(map.chosen.size) + " selected.");
}
overlay.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const press = KEYS[event.key] || KEYS[event.key.toLowerCase()];
  if (press) {
    event.preventDefault();
    press();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    $("search").focus();
  }
  if (event.key === "Escape") {
    if (document.activeElement === $("search")) {
      if ($("search").value) {
        $("search").value = "";
        clearTimeout(typing);
        search("");
      } else overlay.focus();
    } else if (map.lassoing || map.lasso) {
      map.setLasso(false);
      map.redraw();
    } else if (map.selected >= 0) select(-1);
  }
});

// ---- buttons
let typing = 0;
$("search").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(
    () => {
      if (map.selected >= 0 && event.target.value) select(-1);
      search(event.target.value);
    },
    N > 20000 ? 200 : 60,
  );
});
$("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    clearTimeout(typing);
    search(event.target.value);
    $("found-list").querySelector("button")?.click();
  }
});
$("take-found").addEventListener("click", () => {
  for (let i = 0; i < N; i++) if (map.matches?.[i]) map.chosen.add(i);
  chosenChanged();
});
$("mode").addEventListener("change", (event) => setMode(event.target.value));
$("show-all").addEventListener("click", () => {
  map.hidden.clear();
  filtered();
});
$("zoom-in").addEventListener("click", () => map.zoom(1.6));
$("zoom-out").addEventListener("click", () => map.zoom(1 / 1.6));
$("fit").addEventListener("click", () => map.fit());
$("lasso").addEventListener("click", () => map.setLasso(!map.lassoing));
$("labels").addEventListener("click", () => {
  map.labels = !map.labels;
  $("labels").setAttribute("aria-pressed", String(map.labels));
  map.redraw();
});
$("theme").addEventListener("click", () => {
  setTheme(theme() === "dark" ? "light" : "dark");
  try {
    localStorage.setItem(THEME, theme());
  } catch {
    /* some viewers forbid it */
  }
});
$("play").addEventListener("click", () => play(map.selected));
$("choose").addEventListener("click", () => toggleChosen(map.selected));
$("unselect").addEventListener("click", () => {
  select(-1);
  overlay.focus();
});
$("save").addEventListener("click", save);
$("clear").addEventListener("click", () => {
  map.chosen.clear();
  chosenChanged();
});
$("audio").addEventListener("error", () => {
  if ($("audio").hasAttribute("src")) {
    $("audio-note").hidden = false;
    $("audio-note").textContent = "The file cannot be played from here: " + pathOf(map.selected);
  }
});
$("link").addEventListener("click", async () => {
  const address = location.href.split("#")[0] + fragment();
  try {
    await navigator.clipboard.writeText(address);
    announce("Link copied.");
  } catch {
    history.replaceState(null, "", fragment());
    announce("The link is in the address bar.");
  }
});
const theme = () => document.documentElement.dataset.theme;
function setTheme(to) {
  document.documentElement.dataset.theme = to;
  showLegend();
  map.paint();
}
const THEME = "voisin-theme",
  dark = matchMedia("(prefers-color-scheme: dark)");
function wantedTheme() {
  try {
    const kept = localStorage.getItem(THEME);
    if (kept === "dark" || kept === "light") return kept;
  } catch {
    /* as the system has it */
  }
  return dark.matches ? "dark" : "light";
}
dark.addEventListener("change", () => setTheme(wantedTheme()));
addEventListener("hashchange", recall);

// ---- begin
for (const key of usable) {
  const option = element("option", MODES[key].label);
  option.value = key;
  $("mode").append(option);
}
document.documentElement.dataset.theme = wantedTheme();
setMode("genre");
recall();
if (!location.hash)
  announce("Drag to move, wheel or pinch to zoom, click a track to see its nearest.");

// For tests and for measuring.
window.voisinMap = {
  N,
  map,
  get mode() {
    return mode;
  },
  select,
  search,
  setMode,
  fragment,
  display,
  addressOf,
};
