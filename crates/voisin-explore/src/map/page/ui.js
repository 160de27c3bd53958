// Hands and ears: mouse, touch, keys, lists, link, playlist. Every name from a tag goes through textContent.
const $ = (id) => document.getElementById(id);
const panel = $("panel"),
  tip = $("tip"),
  status = $("status");
const say = (text) => {
  status.textContent = text;
};
const count = (n) => n.toLocaleString("en") + (n === 1 ? " track" : " tracks");

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
function sign(s) {
  const space = "http://www.w3.org/2000/svg",
    svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("width", "16");
  svg.setAttribute("height", "16");
  svg.setAttribute("aria-hidden", "true");
  const [name, attributes] = [
    ["circle", { cx: 8, cy: 8, r: 6 }],
    ["rect", { x: 3, y: 3, width: 10, height: 10 }],
    ["path", { d: "M8 2 L14.5 13.5 L1.5 13.5 Z" }],
  ][slotShape(s)];
  const drawn = document.createElementNS(space, name);
  for (const key in attributes) drawn.setAttribute(key, attributes[key]);
  drawn.setAttribute("fill", slotColour(s));
  svg.append(drawn);
  return svg;
}

// ---- legend and colours
function setMode(mode) {
  state.mode = usable.includes(mode) ? mode : FIRST_MODE;
  $("mode").value = state.mode;
  state.hidden.clear();
  classify();
  showLegend();
  paint();
  remember();
}
function showLegend() {
  const list = $("legend");
  list.replaceChildren(
    ...legend.map((line) => {
      const item = element("li"),
        button = element("button");
      button.type = "button";
      button.setAttribute("aria-pressed", String(!state.hidden.has(line.slot)));
      button.append(
        sign(line.slot),
        element("span", line.name, "grow"),
        element("span", line.count.toLocaleString("en"), "end"),
      );
      button.addEventListener("click", () => {
        if (!state.hidden.delete(line.slot)) state.hidden.add(line.slot);
        filtered();
      });
      button.addEventListener("dblclick", () => {
        state.hidden = new Set(legend.map((l) => l.slot).filter((s) => s !== line.slot));
        filtered();
      });
      item.append(button);
      return item;
    }),
  );
  const years = Boolean(MODES[state.mode].years);
  $("ramp").hidden = !years;
  if (years) {
    const bar = $("ramp-bar").getContext("2d");
    for (let x = 0; x < 256; x++) {
      bar.fillStyle = "rgb(" + ramp(x / 255) + ")";
      bar.fillRect(x, 0, 1, 12);
    }
    $("ramp-low").textContent = yearRange[0];
    $("ramp-high").textContent = yearRange[1];
  }
}
function filtered() {
  [...$("legend").children].forEach((item, k) =>
    item.firstChild.setAttribute("aria-pressed", String(!state.hidden.has(legend[k].slot))),
  );
  let shown = 0;
  for (let i = 0; i < N; i++) shown += visible(i);
  say(count(shown) + " shown.");
  paint();
}

// ---- search
function search(text) {
  state.query = text;
  const words = plain(text).split(/\s+/).filter(Boolean);
  if (!words.length) {
    state.matches = null;
    $("found").hidden = true;
  } else {
    state.matches = new Uint8Array(N);
    const first = [];
    let total = 0;
    for (let i = 0; i < N; i++) {
      const text = searchText(i);
      if (words.every((word) => text.includes(word))) {
        state.matches[i] = 1;
        total++;
        if (first.length < 50) first.push(i);
      }
    }
    $("found").hidden = false;
    $("found-count").textContent =
      count(total) +
      " found" +
      (total > first.length ? ", the first " + first.length + " listed" : "");
    $("found-list").replaceChildren(...first.map((i) => entry(i)));
    $("take-found").disabled = total === 0;
    say(count(total) + " found.");
  }
  paint();
  remember();
}

// ---- one track
let cursor = -1;
function select(i, center) {
  state.selected = i;
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
          named(predicted, i) + (probability[i] ? " (" + probability[i] + " %)" : ""),
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
    $("neighbours").replaceChildren();
    let nearest = 0;
    for (let k = 0; k < K && neighbours[i * K + k] !== NONE; k++, nearest++)
      $("neighbours").append(
        entry(neighbours[i * K + k], (similarity[i * K + k] / 10000).toFixed(2)),
      );
    showChoose();
    // Where there is little room, the lists make way for the track.
    if (panel.clientHeight < 620) $("legend-box").open = false;
    panel.scrollTop = 0;
    say("Chosen: " + display(i) + ". " + nearest + " nearest tracks listed.");
    if (center) bring(i);
  }
  redraw();
  remember();
}
function showChoose() {
  if (state.selected >= 0)
    $("choose").textContent = state.chosen.has(state.selected)
      ? "Remove from selection"
      : "Add to selection";
}
// Moves the view so that a track and its neighbours are well in sight.
function bring(i) {
  const [x, y] = toScreen(X[i], Y[i]);
  if (x < width * 0.15 || x > width * 0.85 || y < height * 0.15 || y > height * 0.85)
    glide(X[i], Y[i], Math.max(view.scale, fitScale() * 3));
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
  const n = state.chosen.size,
    list = [...state.chosen];
  $("selected-count").textContent = n
    ? count(n) + ", " + clock(list.reduce((sum, i) => sum + seconds[i], 0)) + " selected"
    : "No tracks selected: draw a lasso, or hold Shift and drag.";
  $("save").disabled = $("clear").disabled = n === 0;
  $("selected-list").replaceChildren(...list.slice(0, 200).map((i) => entry(i)));
  showChoose();
  redraw();
}
// Tracks in a polygon of screen points.
function inside(polygon) {
  const map = polygon.map(([x, y]) => toMap(x, y)),
    out = [];
  for (let i = 0; i < N; i++) {
    if (!visible(i)) continue;
    let within = false;
    for (let a = 0, b = map.length - 1; a < map.length; b = a++)
      if (
        map[a][1] > Y[i] !== map[b][1] > Y[i] &&
        X[i] < ((map[b][0] - map[a][0]) * (Y[i] - map[a][1])) / (map[b][1] - map[a][1]) + map[a][0]
      )
        within = !within;
    if (within) out.push(i);
  }
  return out;
}
function lassoed(polygon, add) {
  if (!add) state.chosen.clear();
  const found = inside(polygon);
  found.forEach((i) => state.chosen.add(i));
  chosenChanged();
  say(count(state.chosen.size) + " selected.");
}
// Control characters would begin a new line or a directive; a path that begins with # would be a comment.
const oneLine = (text) => text.replace(/[\u0000-\u001f\u007f\u0085\u2028\u2029]+/g, " ");
function m3u8() {
  const lines = ["#EXTM3U"];
  for (const i of state.chosen) {
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
  say("Saved " + count(state.chosen.size) + " as selection.m3u8.");
}

// ---- view
// The tools cover the left edge: the map is fitted beside them.
const TOOLS = 60;
function middle() {
  const [x0, y0, x1, y1] = raw.bounds;
  return [(x0 + x1) / 2 - TOOLS / 2 / fitScale(), (y0 + y1) / 2];
}
function fitScale() {
  const [x0, y0, x1, y1] = raw.bounds;
  return 0.88 * Math.min((width - TOOLS) / (x1 - x0 || 1), height / (y1 - y0 || 1));
}
function fit() {
  glide(...middle(), fitScale());
}
let flight = 0;
function glide(x, y, scale) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches || document.hidden,
    from = { ...view },
    start = performance.now(),
    mine = ++flight;
  const step = (now) => {
    if (mine !== flight) return;
    const t = still ? 1 : Math.min(1, (now - start) / 350),
      e = t * t * (3 - 2 * t);
    view.scale = from.scale * (scale / from.scale) ** e;
    view.x = from.x + (x - from.x) * e;
    view.y = from.y + (y - from.y) * e;
    redraw();
    if (t < 1) requestAnimationFrame(step);
    else remember();
  };
  step(start);
}
function zoom(factor, sx = width / 2, sy = height / 2) {
  const [x, y] = toMap(sx, sy),
    base = fitScale();
  flight++;
  view.scale = Math.min(base * 2000, Math.max(base / 4, view.scale * factor));
  view.x = x - (sx - width / 2) / view.scale;
  view.y = y - (height / 2 - sy) / view.scale;
  redraw();
  remember();
}
function pan(dx, dy) {
  flight++;
  view.x -= dx / view.scale;
  view.y += dy / view.scale;
  redraw();
  remember();
}

// ---- link fragment
const NOTHING_HERE = "Nothing is here: 0 or ⤢ shows everything.";
let writing = 0;
function fragment() {
  const part = {
    x: view.x.toFixed(4),
    y: view.y.toFixed(4),
    z: (view.scale / fitScale()).toFixed(3),
    c: state.mode,
  };
  if (state.selected >= 0) part.t = ids[state.selected];
  if (state.query) part.q = state.query;
  return "#" + new URLSearchParams(part);
}
function remember() {
  clearTimeout(writing);
  writing = setTimeout(() => {
    if (isEmpty()) say(NOTHING_HERE);
    else if (status.textContent === NOTHING_HERE) say("");
    try {
      history.replaceState(null, "", fragment());
    } catch {
      /* some viewers forbid it */
    }
  }, 200);
}
function isEmpty() {
  for (let i = 0; i < N; i++) {
    const [x, y] = toScreen(X[i], Y[i]);
    if (x >= 0 && x <= width && y >= 0 && y <= height) return false;
  }
  return true;
}
function recall() {
  const part = new URLSearchParams(location.hash.slice(1)),
    number = (key, other) => {
      const v = parseFloat(part.get(key));
      return Number.isFinite(v) ? v : other;
    };
  const [x, y] = middle();
  view.x = number("x", x);
  view.y = number("y", y);
  view.scale = fitScale() * Math.min(2000, Math.max(0.25, number("z", 1)));
  if (part.has("c")) setMode(part.get("c"));
  if (part.get("q")) {
    $("search").value = part.get("q");
    search(part.get("q"));
  }
  if (part.has("t")) {
    const i = ids.indexOf(number("t", NaN));
    if (i >= 0) select(i, false);
  }
  redraw();
}

// ---- mouse and touch
const pointers = new Map();
let pressed = null,
  pinch = 0;
const spot = (event) => {
  const box = overlay.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
const under = (sx, sy, reach = 14) => {
  const [x, y] = toMap(sx, sy);
  return grid.nearest(
    x,
    y,
    reach / view.scale,
    (i) => visible(i) && !(state.matches && !state.matches[i]),
  );
};
let lassoMode = false;
function setLasso(on) {
  lassoMode = on;
  $("lasso").setAttribute("aria-pressed", String(on));
  overlay.classList.toggle("lasso", on);
  if (on) say("Draw around the tracks to select; hold Shift to add.");
}
overlay.addEventListener("pointerdown", (event) => {
  overlay.setPointerCapture(event.pointerId);
  const at = spot(event);
  pointers.set(event.pointerId, at);
  if (pointers.size === 1) {
    pressed = { at, last: at, moved: false, add: event.shiftKey && lassoMode };
    if (lassoMode || event.shiftKey) state.lasso = [at];
  } else {
    state.lasso = null;
    pinch = 0;
  }
  tip.hidden = true;
});
overlay.addEventListener("pointermove", (event) => {
  const at = spot(event);
  if (!pointers.has(event.pointerId)) return hover(at);
  pointers.set(event.pointerId, at);
  if (pointers.size === 2) {
    const [a, b] = [...pointers.values()],
      apart = Math.hypot(a[0] - b[0], a[1] - b[1]),
      middle = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    if (pinch) {
      zoom(apart / pinch, ...middle);
      pan(middle[0] - pressed.last[0], middle[1] - pressed.last[1]);
    }
    pinch = apart;
    pressed.last = middle;
    pressed.moved = true;
    return;
  }
  if (!pressed) return;
  if (Math.hypot(at[0] - pressed.at[0], at[1] - pressed.at[1]) > 5) pressed.moved = true;
  if (state.lasso) {
    state.lasso.push(at);
    redraw();
  } else if (pressed.moved) pan(at[0] - pressed.last[0], at[1] - pressed.last[1]);
  pressed.last = at;
});
function released(event) {
  if (!pointers.delete(event.pointerId) || pointers.size) {
    pinch = 0;
    const left = [...pointers.values()][0];
    if (left && pressed) pressed.last = left;
    return;
  }
  const lasso = state.lasso,
    was = pressed;
  state.lasso = null;
  pressed = null;
  if (lasso && was.moved && lasso.length > 2) {
    lassoed(lasso, was.add);
    setLasso(false);
  } else if (was && !was.moved && event.type === "pointerup")
    select(under(...was.at, event.pointerType === "touch" ? 24 : 14), false);
  redraw();
}
overlay.addEventListener("pointerup", released);
overlay.addEventListener("pointercancel", released);
overlay.addEventListener("pointerleave", () => {
  if (!pointers.size) hover(null);
});
overlay.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0016)), ...spot(event));
  },
  { passive: false },
);
function hover(at) {
  const i = at ? under(...at) : -1;
  if (i !== state.hover) {
    state.hover = i;
    redraw();
  }
  tip.hidden = i < 0;
  if (i < 0) return;
  tip.replaceChildren(
    element("b", title(i)),
    ...[artist(i), genresOf(i).join(", "), named(clusters, i) && "cluster " + named(clusters, i)]
      .filter(Boolean)
      .map((text) => element("span", text)),
  );
  tip.style.left = Math.max(4, Math.min(at[0] + 14, width - tip.offsetWidth - 6)) + "px";
  tip.style.top = Math.max(4, Math.min(at[1] + 14, height - tip.offsetHeight - 6)) + "px";
}

// ---- keys
function walk(step) {
  const list = [...$("neighbours").querySelectorAll("button")];
  if (state.selected < 0 || !list.length) return;
  cursor = (cursor + step + list.length) % list.length;
  const j = neighbours[state.selected * K + cursor];
  state.hover = j;
  say("Nearest " + (cursor + 1) + ": " + display(j));
  redraw();
}
const KEYS = {
  ArrowLeft: () => pan(60, 0),
  ArrowRight: () => pan(-60, 0),
  ArrowUp: () => pan(0, 60),
  ArrowDown: () => pan(0, -60),
  "+": () => zoom(1.4),
  "=": () => zoom(1.4),
  "-": () => zoom(1 / 1.4),
  0: fit,
  Enter: () => select(under(width / 2, height / 2, Math.hypot(width, height)), true),
  n: () => walk(1),
  p: () => walk(cursor < 0 ? 0 : -1),
  l: () => setLasso(!lassoMode),
  g: () => {
    if (state.selected >= 0 && cursor >= 0) select(neighbours[state.selected * K + cursor], true);
  },
  s: () => toggleChosen(state.selected),
};
function toggleChosen(i) {
  if (i < 0) return;
  if (!state.chosen.delete(i)) state.chosen.add(i);
  chosenChanged();
  say(count(state.chosen.size) + " selected.");
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
    } else if (lassoMode || state.lasso) {
      state.lasso = null;
      setLasso(false);
      redraw();
    } else if (state.selected >= 0) select(-1);
  }
});

// ---- buttons
let typing = 0;
$("search").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(
    () => {
      if (state.selected >= 0 && event.target.value) select(-1);
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
  for (let i = 0; i < N; i++) if (state.matches?.[i]) state.chosen.add(i);
  chosenChanged();
});
$("mode").addEventListener("change", (event) => setMode(event.target.value));
$("show-all").addEventListener("click", () => {
  state.hidden.clear();
  filtered();
});
$("zoom-in").addEventListener("click", () => zoom(1.6));
$("zoom-out").addEventListener("click", () => zoom(1 / 1.6));
$("fit").addEventListener("click", fit);
$("lasso").addEventListener("click", () => setLasso(!lassoMode));
$("labels").addEventListener("click", () => {
  state.labels = !state.labels;
  $("labels").setAttribute("aria-pressed", String(state.labels));
  redraw();
});
$("theme").addEventListener("click", () => {
  setTheme(state.theme === "dark" ? "light" : "dark");
  try {
    localStorage.setItem(THEME, state.theme);
  } catch {
    /* some viewers forbid it */
  }
});
$("play").addEventListener("click", () => play(state.selected));
$("choose").addEventListener("click", () => toggleChosen(state.selected));
$("unselect").addEventListener("click", () => {
  select(-1);
  overlay.focus();
});
$("save").addEventListener("click", save);
$("clear").addEventListener("click", () => {
  state.chosen.clear();
  chosenChanged();
});
$("audio").addEventListener("error", () => {
  if ($("audio").hasAttribute("src")) {
    $("audio-note").hidden = false;
    $("audio-note").textContent = "The file cannot be played from here: " + pathOf(state.selected);
  }
});
$("link").addEventListener("click", async () => {
  const address = location.href.split("#")[0] + fragment();
  try {
    await navigator.clipboard.writeText(address);
    say("Link copied.");
  } catch {
    history.replaceState(null, "", fragment());
    say("The link is in the address bar.");
  }
});
function setTheme(theme) {
  state.theme = theme;
  document.documentElement.dataset.theme = theme;
  showLegend();
  paint();
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
addEventListener("resize", () => {
  const share = view.scale / fitScale();
  resize();
  view.scale = share * fitScale();
  redraw();
});
addEventListener("hashchange", recall);

// ---- begin
for (const key of usable) {
  const option = element("option", MODES[key].label);
  option.value = key;
  $("mode").append(option);
}
resize();
view.scale = fitScale();
state.theme = wantedTheme();
document.documentElement.dataset.theme = state.theme;
setMode(FIRST_MODE);
recall();
if (!location.hash)
  say(count(N) + ". Drag to move, wheel or pinch to zoom, press a track to see its nearest.");

// For tests and for measuring: milliseconds per frame while the map moves.
window.voisinMap = {
  N,
  state,
  view,
  X,
  Y,
  select,
  search,
  setMode,
  lassoed,
  m3u8,
  toScreen,
  fragment,
  renderer: () => renderer.kind,
  display,
  async measure(frames) {
    const began = performance.now();
    for (let k = 0; k < frames; k++) {
      zoom(k % 40 < 20 ? 1.06 : 1 / 1.06);
      pan(k % 20 < 10 ? 6 : -6, 2);
      pending = true;
      frame();
      renderer.finish();
      if (k % 10 === 9) await new Promise(requestAnimationFrame);
    }
    return (performance.now() - began) / frames;
  },
};
