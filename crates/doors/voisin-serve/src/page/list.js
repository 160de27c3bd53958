// The list editor. Tracks are moved by their grip and locked in their place; "more like this" and "less like this" choose
// what fills the other places; a path leads from the first track to the last.
import {
  $,
  announce,
  count,
  h,
  icon,
  iconButton,
  isolated,
  keep,
  name,
  span,
  toast,
} from "./dom.js";
import { request } from "./api.js";
import * as player from "./player.js";
import { artistOf, titleOf } from "./cover.js";
import { mark, playCover } from "./playing_marks.js";
import { sortable } from "./sortable.js";
import { empty, sentence } from "./states.js";

/** The stored fields of a track, so that the list shows before the server answers. */
const brief = ({ id, title, artist, album, seconds, genres, path }) => ({
  id,
  title: title ?? null,
  artist: artist ?? null,
  album: album ?? null,
  seconds: seconds ?? 0,
  genres: genres ?? [],
  path,
});
const start = () => ({
  title: "New list",
  items: [],
  less: [],
  how: "similar",
  length: 20,
  diversity: 0.3,
  perArtist: 2,
});
let state = { ...start(), ...keep.get("list", {}) },
  before = [],
  place = null,
  busy = null;

function changed(next, what) {
  before.push(JSON.stringify(state));
  before = before.slice(-50);
  state = { ...state, ...next };
  save();
  if (what) announce(what);
}
function save() {
  keep.set("list", state);
  show_count();
  if (place) draw();
}
function show_count() {
  $("list-count").textContent = state.items.length;
  $("list-count").hidden = !state.items.length;
}
function undo() {
  if (!before.length) return;
  state = JSON.parse(before.pop());
  save();
  announce("Undone");
}

/** The notice of added tracks, and how many it counts. */
const added = { notice: null, tracks: 0 };

/** Adds tracks at the end of the list, without those that it has. */
export function add(tracks) {
  const known = new Set(state.items.map((item) => item.track.id));
  const fresh = tracks.filter((track) => track.id !== null && !known.has(track.id));
  if (!fresh.length) return toast("Already on the list");
  changed({
    items: [
      ...state.items,
      ...fresh.map((track) => ({ track: brief(track), lock: false, more: false })),
    ],
  });
  // A visible notice counts on, so that notices do not pile up.
  added.tracks = (added.notice?.isConnected ? added.tracks : 0) + fresh.length;
  added.notice?.remove();
  added.notice = toast(
    added.tracks === 1
      ? `“${isolated(titleOf(fresh[0]))}” added to the list`
      : `${count(added.tracks, "track")} added to the list`,
    place
      ? null
      : [
          "Open the list",
          () => {
            location.hash = "#/list";
          },
        ],
  );
  return undefined;
}

/** Makes a track the first or the last of a path. */
export function pathEnd(track, first) {
  const others = state.items.filter((item) => item.track.id !== track.id),
    item = { track: brief(track), lock: true, more: false };
  changed({ items: first ? [item, ...others] : [...others, item], how: "path" });
  toast(`The path ${first ? "begins" : "ends"} with “${isolated(titleOf(track))}”`, [
    "Open the list",
    () => {
      location.hash = "#/list";
    },
  ]);
}

export function show(root, _route, signal) {
  // Their "Open the list" is of no use on this page.
  $("toasts").replaceChildren();
  place = { root, signal };
  signal.addEventListener("abort", () => {
    place = null;
    busy?.abort();
  });
  root.replaceChildren(h("div", { class: "page list-page", "data-scrolls": "" }));
  draw();
}

const length = () => state.items.reduce((sum, item) => sum + item.track.seconds, 0);

function draw() {
  const page = place.root.firstChild,
    focused = document.activeElement?.dataset?.focus;
  const rows = h("ol", { class: "rows slots", "aria-label": "The list" }, state.items.map(slot));
  sortable(rows, (from, to) => {
    const items = [...state.items],
      [moved] = items.splice(from, 1);
    items.splice(to, 0, moved);
    changed({ items });
  });
  page.replaceChildren(
    ...[
      h(
        "header",
        { class: "page-head" },
        h("h1", { class: "sr-only" }, "List"),
        h("input", {
          class: "title-input",
          value: state.title,
          "aria-label": "Name of the list",
          "data-focus": "title",
          maxlength: 100,
          onchange: (event) => changed({ title: event.target.value.trim() || start().title }),
        }),
        h(
          "p",
          { class: "faint" },
          state.items.length
            ? `${count(state.items.length, "track")} · ${span(length())}`
            : "Nothing on it yet",
        ),
        h(
          "div",
          { class: "part-acts" },
          h(
            "button",
            {
              type: "button",
              class: "primary",
              disabled: !state.items.length,
              onclick: () => player.play(state.items.map(({ track }) => ({ track }))),
            },
            icon("play"),
            "Play",
          ),
          player.radioButton(() => state.items.map(({ track }) => track), {
            disabled: !state.items.length,
          }),
          h(
            "button",
            {
              type: "button",
              class: "for-change",
              disabled: !state.items.length,
              "data-focus": "m3u8",
              onclick: write,
            },
            icon("save"),
            "M3U8",
          ),
          h(
            "button",
            { type: "button", disabled: !before.length, "data-focus": "undo", onclick: undo },
            icon("undo"),
            "Undo",
          ),
          h(
            "button",
            {
              type: "button",
              disabled: !state.items.length,
              onclick: () => {
                changed({ items: [], less: [] }, "The list is empty");
              },
            },
            "Clear",
          ),
        ),
      ),
      builder(),
      state.less.length
        ? h(
            "div",
            { class: "less" },
            h("span", { class: "faint" }, "Less like"),
            state.less.map((track) =>
              h(
                "span",
                { class: "chip" },
                name(titleOf(track)),
                iconButton("close", `No longer less like ${isolated(titleOf(track))}`, () => {
                  changed({ less: state.less.filter((t) => t.id !== track.id) });
                  fill();
                }),
              ),
            ),
          )
        : null,
      state.items.length
        ? rows
        : empty(
            "Start with one track",
            "Add tracks with the plus beside them, or with the lasso of the map. Then fill the list with similar tracks, or with a path from the first track to the last.",
          ),
    ].filter(Boolean),
  );
  mark();
  if (focused) page.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}

function builder() {
  const number = (label, key, min, max, step, format) =>
    h(
      "label",
      { class: "setting" },
      h("span", {}, label),
      h("input", {
        type: "range",
        min,
        max,
        step,
        value: state[key],
        "aria-valuetext": format(state[key]),
        "data-focus": key,
        oninput: (event) => {
          event.target.nextSibling.textContent = format(Number(event.target.value));
          event.target.setAttribute("aria-valuetext", format(Number(event.target.value)));
        },
        onchange: (event) => changed({ [key]: Number(event.target.value) }),
      }),
      h("output", {}, format(state[key])),
    );
  const path = state.how === "path";
  return h(
    "section",
    { class: "builder", "aria-label": "Fill the list" },
    h(
      "div",
      { class: "segments", role: "group", "aria-label": "How the list is filled" },
      [
        ["similar", "Similar tracks"],
        ["path", "A path from first to last"],
      ].map(([how, label]) =>
        h(
          "button",
          {
            type: "button",
            "aria-pressed": String(state.how === how),
            "data-focus": how,
            onclick: () => changed({ how }),
          },
          label,
        ),
      ),
    ),
    h(
      "div",
      { class: "settings" },
      number("Tracks", "length", 3, 100, 1, (v) => String(v)),
      path
        ? null
        : number("Variety", "diversity", 0, 1, 0.1, (v) =>
            v === 0 ? "none" : v < 0.4 ? "some" : v < 0.8 ? "much" : "most",
          ),
      number("Per artist", "perArtist", 0, 10, 1, (v) => (v === 0 ? "any" : "at most " + v)),
    ),
    h(
      "div",
      { class: "part-acts" },
      h(
        "button",
        {
          type: "button",
          class: "primary",
          id: "fill",
          "data-focus": "fill",
          disabled: state.items.length < (path ? 2 : 1),
          onclick: fill,
        },
        path ? "Find the path" : "Fill the list",
      ),
      h(
        "p",
        { class: "faint", id: "fill-note", role: "status" },
        path
          ? "The path passes through the locked tracks, in this order."
          : "Tracks that are locked or marked “more like this” stay.",
      ),
    ),
  );
}

function slot(item, i) {
  const { track } = item,
    title = titleOf(track);
  const set = (change, message) =>
    changed(
      { items: state.items.map((other) => (other === item ? { ...item, ...change } : other)) },
      message,
    );
  return h(
    "li",
    { class: "slot" + (item.lock ? " locked" : ""), "data-id": track.id, "data-key": track.id },
    h(
      "button",
      {
        type: "button",
        class: "grip quiet",
        "aria-label": `Move ${isolated(title)}: arrow keys`,
        title: "Drag to move",
      },
      icon("grip"),
    ),
    h("span", { class: "place" }, i + 1),
    playCover({ track }),
    h(
      "a",
      { class: "words", href: "#/track/" + track.id },
      name(title, "span", { class: "title", title }),
      name(artistOf(track), "span", { class: "faint" }),
    ),
    item.step
      ? h(
          "span",
          {
            class: "step",
            vars: { "--step": Math.min(1, item.step) },
            title: "Distance from the previous track: 0 is the same, 1 unrelated",
          },
          h("i", {}),
          item.step.toFixed(2),
        )
      : track.genres[0]
        ? name(track.genres[0], "span", { class: "note genre" })
        : null,
    h(
      "span",
      { class: "slot-acts" },
      iconButton(
        item.lock ? "lock" : "unlock",
        `Lock ${isolated(title)} in its place`,
        () => set({ lock: !item.lock }, item.lock ? "Unlocked" : "Locked"),
        { "aria-pressed": String(item.lock), "data-focus": "lock" + track.id, class: "act lock" },
      ),
      iconButton(
        "more",
        `More like ${isolated(title)}`,
        () => {
          set({ more: !item.more });
          fill();
        },
        { "aria-pressed": String(item.more), "data-focus": "more" + track.id, class: "act more" },
      ),
      iconButton("less", `Less like ${isolated(title)}`, () => less(item), {
        "data-focus": "less" + track.id,
        class: "act less-like",
      }),
      iconButton(
        "close",
        `Remove ${isolated(title)} from the list`,
        () => changed({ items: state.items.filter((other) => other !== item) }, "Removed"),
        { class: "act" },
      ),
    ),
  );
}

function less(item) {
  changed({
    items: state.items.filter((other) => other !== item),
    less: [...state.less, item.track],
  });
  if (state.items.length) fill();
}

/** Fills the free places. */
async function fill() {
  if (!state.items.length) return;
  busy?.abort();
  busy = new AbortController();
  const { signal } = busy,
    note = (text) => {
      const element = $("fill-note");
      if (element) element.textContent = text;
    };
  const waiting = (why, seconds) => note(sentence(why) + ` Trying again in ${seconds} s.`);
  note("Finding tracks…");
  try {
    const { items, far } =
      state.how === "path" ? await path(signal, waiting) : await similar(signal, waiting);
    if (signal.aborted) return;
    changed({ items });
    note(`${count(items.length, "track")}, ${span(length())}.` + (far ? " " + sentence(far) : ""));
    announce(`The list has ${count(items.length, "track")}`);
  } catch (error) {
    if (error.name !== "AbortError")
      note(sentence(error.message) + (error.next ? " " + sentence(error.next) : ""));
  }
}

async function similar(signal, waiting) {
  const kept = state.items.filter((item) => item.lock || item.more),
    base = kept.length ? kept : state.items;
  const wanted = state.items.filter((item) => item.more),
    seeds = (wanted.length ? wanted : base).map((item) => ({ id: item.track.id }));
  const away = new Set([
    ...base.map((item) => item.track.id),
    ...state.less.map((track) => track.id),
  ]);
  const most = state.perArtist || undefined;
  const answer = state.less.length
    ? await request("similar", {
        body: {
          seeds,
          unlike: state.less.map((track) => ({ id: track.id })),
          unlike_weight: 0.5,
          limit: Math.min(500, state.length + away.size + 10),
          max_per_artist: most,
        },
        signal,
        waiting,
      })
    : await request("playlist", {
        body: {
          seeds,
          exclude: [...away].slice(0, 500).map((id) => ({ id })),
          limit: state.length,
          max_per_artist: state.perArtist,
          variety: state.diversity,
        },
        signal,
        waiting,
      });
  const found = answer.neighbours ?? answer.items;
  const near = [];
  // The limit per artist includes the tracks that stay.
  const artists = new Map();
  const counts = (track) => {
    const name = track.artist ?? "";
    artists.set(name, (artists.get(name) ?? 0) + 1);
    return !most || !name || artists.get(name) <= most;
  };
  base.forEach((item) => counts(item.track));
  for (const track of found)
    if (!away.has(track.id) && near.length < state.length && counts(track)) near.push(track);
  const fresh = (await Promise.all(near.map((track) => whole(track, signal)))).map((track) => ({
    track: brief(track),
    lock: false,
    more: false,
  }));
  // Locked tracks keep their place, "more like this" their order; similar tracks fill the rest.
  const size = Math.max(state.length, base.length),
    slots = new Array(size).fill(null);
  for (const item of base.filter((item) => item.lock)) {
    let at = Math.min(state.items.indexOf(item), size - 1);
    while (slots[at]) at = at > 0 ? at - 1 : slots.findIndex((slot) => !slot);
    slots[at] = item;
  }
  const rest = [...base.filter((item) => !item.lock), ...fresh];
  return {
    items: slots
      .map((slot) => slot ?? rest.shift())
      .filter(Boolean)
      .map(({ step, ...item }) => item),
    far: answer.note,
  };
}

async function path(signal, waiting) {
  const [first, last] = [state.items[0], state.items.at(-1)],
    via = state.items.slice(1, -1).filter((item) => item.lock || item.more);
  if (first === last) throw new Error("A path needs two tracks: its first and its last.");
  const named = (item) => ({ id: item.track.id });
  const body = {
    from: named(first),
    to: named(last),
    via: via.map(named),
    steps: Math.max(state.length - 1, via.length + 1),
    max_per_artist: state.perArtist || undefined,
  };
  const walk = await request("path", { body, signal, waiting }),
    held = new Map(state.items.map((item) => [item.track.id, item]));
  const items = await Promise.all(
    walk.tracks.map(async (found) => {
      const own = held.get(found.id);
      return {
        track: own?.track ?? brief(await whole(found, signal)),
        lock: own?.lock ?? false,
        more: own?.more ?? false,
        step: found.step,
      };
    }),
  );
  items[0].lock = items.at(-1).lock = true;
  return { items, far: walk.notes?.join(" ") };
}

/** Some answers have no length of their tracks; the track itself has it. */
async function whole(track, signal) {
  return track.seconds ? track : request("tracks/" + track.id, { signal });
}

async function write() {
  try {
    const answer = await request("lists", {
      body: { title: state.title, tracks: state.items.map((item) => item.track.id) },
      as: "response",
    });
    const link = h("a", {
      href: URL.createObjectURL(await answer.blob()),
      download: state.title.replace(/[\\/:*?"<>|\u0000-\u001f]+/g, " ").trim() + ".m3u8",
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    toast(`Saved ${count(state.items.length, "track")} as ${link.download}`);
  } catch (error) {
    toast(sentence(error.message) + (error.next ? " " + sentence(error.next) : ""));
  }
}
// All tabs of the page show the same list.
keep.on("list", () => {
  state = { ...start(), ...keep.get("list", {}) };
  show_count();
  if (place) draw();
});
document.addEventListener("keydown", (event) => {
  if (
    place &&
    (event.ctrlKey || event.metaKey) &&
    event.key === "z" &&
    !/^(INPUT|TEXTAREA)$/.test(event.target.tagName)
  ) {
    event.preventDefault();
    undo();
  }
});
save();
