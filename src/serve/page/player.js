// The player: its queue, radio, volume and bar.
import {
  $,
  announce,
  changes,
  clock,
  h,
  icon,
  iconButton,
  isolated,
  keep,
  name,
  setIcon,
  toast,
} from "./dom.js";
import { Gone, events, isGone, request } from "./api.js";
import { artistOf, artwork, cover, titleOf } from "./cover.js";
import {
  audio,
  begin,
  isOn,
  isWaiting,
  move,
  onAudio,
  pause,
  playback,
  resume,
  seconds,
} from "./playback.js";
import { sentence } from "./states.js";

const seek = $("seek");
/** Entries are { track, address? }: a track, from the library or (address) from a dropped file. */
let queue = [],
  at = -1,
  unplayable = 0;
/** The volume setting. */
let wanted = keep.get("volume", 1);
/** At the end of the queue: "off", "all" from the beginning, "one" again; and whether similar music follows. */
let repeat = keep.get("repeat", "off"),
  radio = keep.get("go-on", false);
/** A radio's songs differ each time, and not all are by one artist. */
const varied = { variety: 0.1, max_per_artist: 3 };

/** The radio's seeds and filters, until something else is played: { seeds, filters }. */
let station = keep.get("station", null);
const goesOn = () => radio || station !== null;

export const current = () => queue[at];
export const isPlaying = (id) => current()?.track.id === id && isOn();
export const paused = () => !isOn();

function start(entry, from = 0, plays = true) {
  begin(entry, from, plays);
}

function setStation(wanted) {
  station = wanted;
  keep.set("station", wanted);
}

/** Most seeds of a radio. */
const MOST_SEEDS = 50;
/**
 * Starts a radio: endless music like these tracks. A single track plays first itself.
 * - `filters`: which tracks may play
 */
export async function playRadio(tracks, filters) {
  const seeds = tracks.slice(0, MOST_SEEDS).map(({ id }) => ({ id }));
  if (tracks.length === 1) play([{ track: tracks[0] }]);
  setStation({ seeds, filters });
  if (tracks.length === 1) return goOn();
  try {
    const { items } = await request("playlist", {
      body: { seeds, ...filters, exclude: seeds, limit: FOLLOWING, ...varied },
    });
    // Without other tracks the seeds themselves play.
    if (items.length) play(items.map((track) => ({ track, follows: true })));
    else if (tracks.length) {
      play(tracks.map((track) => ({ track })));
      shuffle();
    } else return toast("No track fits this radio.");
    setStation({ seeds, filters });
  } catch (error) {
    toast(sentence(error.message));
  }
  return undefined;
}
/** A button that starts a radio. `tracks`: returns the seeds or a promise of them. */
export const radioButton = (tracks, more = {}) =>
  h(
    "button",
    {
      type: "button",
      ...more,
      class: "radio " + (more.class ?? ""),
      onclick: async () => playRadio(await tracks()),
    },
    icon("radio"),
    "Radio",
  );

/** Plays these entries, the one at `index` first. */
export function play(entries, index = 0) {
  setStation(null);
  queue = [...entries];
  at = queue.length ? index : -1;
  unplayable = 0;
  if (queue[at]) start(queue[at]);
}
/** Plays one track now, before the rest of the queue. */
export function playNow(entry) {
  const now = current();
  if (now && now.track.id === entry.track.id) return toggle();
  queue.splice(at + 1, 0, entry);
  at++;
  unplayable = 0;
  start(entry);
}
/** Plays one track of a list: those behind it follow, after the entries that were queued by hand. */
export function playFrom(entry, all) {
  const now = current();
  if (now && now.track.id === entry.track.id) return toggle();
  const place = Math.max(
      0,
      all.findIndex((one) => one.track.id === entry.track.id),
    ),
    chosen = queue.slice(at + 1).filter((one) => one.chosen);
  return play([...all.slice(0, place), entry, ...chosen, ...all.slice(place + 1)], place);
}
/** Queues entries next, behind those that were queued before. */
export function enqueue(entries) {
  let place = at + 1;
  while (queue[place]?.chosen) place++;
  queue.splice(place, 0, ...entries.map((entry) => ({ ...entry, chosen: true })));
  if (at < 0 && queue.length) {
    at = 0;
    start(queue[0]);
  } else show();
  toast(
    entries.length === 1
      ? `“${isolated(titleOf(entries[0].track))}” will follow`
      : `${entries.length} tracks will follow`,
  );
}
export function toggle() {
  if (!current()) return;
  if (isOn()) return pause();
  return resume();
}
export function step(by) {
  if (by < 0 && seconds() > 3) return move(0);
  let next = at + by;
  if (next >= queue.length && repeat === "all") next = 0;
  if (next < 0 || next >= queue.length) return by > 0 ? pause() : undefined;
  at = next;
  return start(queue[at]);
}
export const length = () => audio.duration || current()?.track.seconds || 0;
export function seekBy(change) {
  if (current()) move(Math.min(length(), Math.max(0, seconds() + change)));
}
export function setVolume(value) {
  wanted = Math.min(1, Math.max(0, value));
  audio.muted = false;
  applyVolume();
  showVolume();
}
function applyVolume() {
  audio.volume = wanted;
}
export function mute() {
  audio.muted = !audio.muted;
  showVolume();
  announce(audio.muted ? "Sound off" : "Sound on");
}
export const volume = () => wanted;

function showVolume() {
  $("volume").value = audio.muted ? 0 : wanted;
  paintRange($("volume"));
  $("mute").setAttribute("aria-pressed", String(audio.muted));
  setIcon($("mute"), audio.muted || wanted === 0 ? "muted" : "volume");
  keep.set("volume", wanted);
}
export function paintRange(input) {
  input.style.setProperty(
    "--part",
    (100 * (input.value - input.min)) / (input.max - input.min || 1) + "%",
  );
}

// ---- the bar
function show() {
  const entry = current(),
    track = entry?.track,
    empty = !entry;
  $("player").classList.toggle("idle", empty);
  for (const id of ["play", "seek"]) $(id).disabled = empty;
  $("previous").disabled = empty;
  $("next").disabled = at + 1 >= queue.length;
  if (track) {
    $("now-title").replaceChildren(name(titleOf(track)));
    $("now-title").title = titleOf(track);
    $("now-title").href = track.id === null ? "#/file" : "#/track/" + track.id;
    $("now-artist").replaceChildren(name(artistOf(track)));
    $("now-cover").replaceChildren(cover(track));
    document.title = `${isolated(titleOf(track))} – ${isolated(artistOf(track))} · voisin`;
    if ("mediaSession" in navigator)
      navigator.mediaSession.metadata = new MediaMetadata({
        title: titleOf(track),
        artist: artistOf(track),
        album: track.album ?? "",
        artwork: artwork(track),
      });
  }
  setIcon(
    $("play"),
    isOn() ? "pause" : "play",
    isWaiting() ? "Pause: waiting for the server" : isOn() ? "Pause" : "Play",
  );
  $("play").setAttribute("aria-busy", String(isWaiting()));
  if ("mediaSession" in navigator)
    navigator.mediaSession.playbackState = isOn() ? "playing" : "paused";
  showTime();
  showQueue();
  remember();
  goOn();
  changes.emit("change");
}

// ---- radio
/** The last entry after which more songs were requested; whether that request runs. */
let requestedAfter = null,
  isRequesting = false;
/** Whether songs may still follow the queue: they are requested, or will be once the server is back. */
const awaitsMore = () => isRequesting || (goesOn() && repeat === "off" && isGone());
/** Songs that a radio requests at once. */
const FOLLOWING = 5;
/** Songs of the queue that are sent to the server as played. */
const PLAYED = 200;
/** Extends the queue of a radio, without repetitions, from its seeds or the entry last queued by hand. */
async function goOn() {
  const last = queue.at(-1);
  if (
    !goesOn() ||
    repeat !== "off" ||
    !last ||
    last.track.id === null ||
    at < queue.length - 1 ||
    requestedAfter === last ||
    !isOn()
  )
    return;
  requestedAfter = last;
  isRequesting = true;
  try {
    const own = queue.filter((entry) => entry.track.id !== null),
      from = own.findLast((entry) => !entry.follows) ?? last;
    const seeds = station?.seeds ?? [{ id: from.track.id }];
    const { items } = await request("playlist", {
      body: {
        seeds,
        ...station?.filters,
        limit: FOLLOWING,
        exclude: [...seeds, ...own.slice(-PLAYED).map((entry) => ({ id: entry.track.id }))],
        ...varied,
      },
    });
    if (queue.at(-1) !== last) return;
    const known = new Set(own.map((entry) => entry.track.id));
    queue.push(
      ...items.filter((track) => !known.has(track.id)).map((track) => ({ track, follows: true })),
    );
    isRequesting = false;
    if (audio.ended && isOn()) step(1);
    else show();
  } catch (error) {
    // If the server is unreachable, the request is repeated when it is back.
    if (error instanceof Gone) requestedAfter = null;
    else if (audio.ended && isOn()) pause();
  } finally {
    isRequesting = false;
  }
}
events.on("back", goOn);
function setRepeat() {
  repeat = { off: "all", all: "one", one: "off" }[repeat];
  keep.set("repeat", repeat);
  show();
}
function shuffle() {
  for (let i = queue.length - 1; i > at + 1; i--) {
    const j = at + 1 + Math.floor(Math.random() * (i - at));
    [queue[i], queue[j]] = [queue[j], queue[i]];
  }
  show();
}

// ---- state that outlives the page
let noted = 0;
const brief = ({ id, title, artist, album, seconds, codec, path }) => ({
  id,
  title,
  artist,
  album,
  seconds,
  codec,
  path,
});
function remember() {
  const near = queue.slice(Math.max(0, at - 50), at + 450),
    kept = near.filter((entry) => entry.track.id !== null && !entry.address);
  keep.set("player", {
    queue: kept.map(({ track, from, to, chosen, follows }) => ({
      track: brief(track),
      from,
      to,
      chosen,
      follows,
    })),
    at: kept.indexOf(current()),
  });
  noted = seconds();
  keep.set("place", noted);
}
/** Restores the stored state, paused. */
export function recall() {
  const kept = keep.get("player", null);
  if (queue.length || !kept?.queue?.[kept.at]) return;
  ({ queue, at } = kept);
  audio.preload = "metadata";
  start(current(), keep.get("place", 0), false);
}
addEventListener("pagehide", remember);
let dragged = false;
function showTime() {
  seek.max = Math.max(1, length());
  if (!dragged) seek.value = seconds();
  seek.setAttribute("aria-valuetext", `${clock(seek.value)} of ${clock(length())}`);
  if (isOn() && Math.abs(seconds() - noted) > 2) {
    noted = seconds();
    keep.set("place", noted);
  }
  $("elapsed").textContent = clock(seek.value);
  $("length").textContent = clock(length());
  paintRange(seek);
}
function showQueue() {
  const panel = $("queue-panel");
  $("queue").classList.toggle("some", at + 1 < queue.length);
  if (panel.hidden) return;
  const list = h("ol", { class: "rows" });
  queue.forEach((entry, i) =>
    list.append(
      h(
        "li",
        {
          class: "queued" + (i === at ? " is-now" : i < at ? " is-past" : ""),
          "data-key": String(i),
        },
        h(
          "button",
          {
            type: "button",
            class: "words plain-button",
            onclick: () => {
              at = i;
              start(entry);
            },
            "aria-current": i === at ? "true" : null,
          },
          cover(entry.track),
          name(titleOf(entry.track), "span", { class: "title", title: titleOf(entry.track) }),
          h("span", { class: "faint" }, name(artistOf(entry.track))),
        ),
        iconButton("close", `Remove ${isolated(titleOf(entry.track))} from the queue`, () =>
          drop(i),
        ),
      ),
    ),
  );
  panel.replaceChildren(
    h(
      "div",
      { class: "head" },
      h("h2", {}, "Up next"),
      h(
        "button",
        {
          type: "button",
          class: "small",
          disabled: !queue.length,
          onclick: () => {
            queue = queue.slice(at, at + 1);
            at = queue.length - 1;
            show();
          },
        },
        "Clear",
      ),
      iconButton("close", "Close", () => openQueue(false)),
    ),
    h(
      "div",
      { class: "part-acts" },
      h(
        "button",
        {
          type: "button",
          class: "small",
          id: "shuffle",
          disabled: queue.length - at < 3,
          onclick: shuffle,
        },
        "Shuffle",
      ),
      h(
        "button",
        {
          type: "button",
          class: "small",
          id: "repeat",
          "aria-pressed": String(repeat !== "off"),
          onclick: setRepeat,
        },
        { off: "Repeat", all: "Repeat: all", one: "Repeat: this track" }[repeat],
      ),
      h(
        "button",
        { type: "button", class: "small", id: "save", disabled: !queue.length, onclick: save },
        "Save as M3U8",
      ),
    ),
    h(
      "label",
      { class: "inline" },
      h("input", {
        type: "checkbox",
        id: "radio",
        checked: goesOn(),
        onchange: (event) => {
          radio = event.target.checked;
          if (!radio) setStation(null);
          keep.set("go-on", radio);
          showQueue();
          goOn();
        },
      }),
      h("span", {}, "Keep playing similar music"),
    ),
    h(
      "label",
      { class: "phone-volume" },
      "Volume",
      h("input", {
        type: "range",
        min: 0,
        max: 1,
        step: 0.01,
        value: wanted,
        oninput: (event) => setVolume(Number(event.target.value)),
      }),
    ),
    queue.length
      ? list
      : h(
          "p",
          { class: "faint" },
          "Nothing yet. Play a track of a list, and the others follow; the button with lines and a plus beside a track plays it next.",
        ),
  );
}
/** Saves the queue's tracks of the library, with the library's paths. */
async function save() {
  const tracks = queue.map((entry) => entry.track).filter(({ id }) => id !== null);
  // Those of the map come without their paths.
  const whole = tracks.map((track) =>
    track.path ? track : request("show", { query: { track: "id:" + track.id } }),
  );
  const lines = (await Promise.all(whole)).map((track) => {
    const title = `${artistOf(track)} - ${titleOf(track)}`.replace(/\s+/g, " ");
    return `#EXTINF:${Math.round(track.seconds ?? -1)},${title}\n${track.path}\n`;
  });
  const text = ["#EXTM3U\n", ...lines].join("");
  const link = h("a", {
    href: URL.createObjectURL(new Blob([text], { type: "audio/x-mpegurl" })),
    download: "voisin.m3u8",
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
function drop(i) {
  queue.splice(i, 1);
  if (i < at) at--;
  else if (i === at) {
    pause();
    at = Math.min(at, queue.length - 1);
    if (queue[at]) start(queue[at]);
  }
  show();
}
export function openQueue(open = $("queue-panel").hidden) {
  $("queue-panel").hidden = !open;
  $("queue").setAttribute("aria-expanded", String(open));
  showQueue();
  if (open) {
    const panel = $("queue-panel");
    panel.querySelector("button")?.focus({ preventScroll: true });
    // The current song is scrolled into sight.
    const now = panel.querySelector(".is-now");
    if (now) panel.scrollTop = now.offsetTop - panel.clientHeight / 3;
  } else $("queue").focus();
}

/** The current entry's track, and those behind it. */
export const upcoming = () => queue.slice(Math.max(0, at)).map((entry) => entry.track);

// ---- events of the audio element
const MOST_UNPLAYABLE = 25;
let notice = null;
// For the lock screen.
const reportPosition = () => {
  const duration = length();
  if (!("mediaSession" in navigator) || !navigator.mediaSession.setPositionState) return;
  if (Number.isFinite(duration) && duration > 0)
    navigator.mediaSession.setPositionState({
      duration,
      playbackRate: audio.playbackRate || 1,
      position: Math.min(duration, Math.max(0, seconds())),
    });
};
for (const name of ["playing", "pause", "seeked", "durationchange"]) onAudio(name, reportPosition);

playback.on("time", showTime);
playback.on("change", show);
playback.on("playing", () => {
  unplayable = 0;
  show();
});
onAudio("play", show);
playback.on("ended", () => {
  if (repeat === "one" && current()) start(current());
  else if (at + 1 < queue.length || repeat === "all") step(1);
  else if (!awaitsMore()) pause();
});
playback.on("unplayable", (why) => {
  const entry = current();
  unplayable++;
  // One notice for all; the next entry plays, unless too many failed in a row or playback was paused.
  notice?.remove();
  notice = toast(
    unplayable === 1
      ? `“${isolated(titleOf(entry.track))}” cannot be played. ${sentence(why)}`
      : `${unplayable} tracks in a row cannot be played. The last one: “${isolated(titleOf(entry.track))}”. ${sentence(why)}`,
  );
  if (isOn() && unplayable < MOST_UNPLAYABLE && at + 1 < queue.length) step(1);
  else pause();
});

$("play").addEventListener("click", toggle);
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("mute").addEventListener("click", mute);
$("volume").addEventListener("input", (event) => setVolume(Number(event.target.value)));
$("queue").addEventListener("click", () => openQueue());
seek.addEventListener("input", () => {
  dragged = true;
  showTime();
});
seek.addEventListener("change", () => {
  dragged = false;
  move(Number(seek.value));
});
if ("mediaSession" in navigator) {
  for (const [name, act] of [
    ["play", resume],
    ["pause", pause],
    ["previoustrack", () => step(-1)],
    ["nexttrack", () => step(1)],
    ["seekbackward", () => seekBy(-10)],
    ["seekforward", () => seekBy(10)],
    ["seekto", (e) => move(e.seekTime)],
  ]) {
    try {
      navigator.mediaSession.setActionHandler(name, act);
    } catch {
      /* not in this browser */
    }
  }
}
applyVolume();
showVolume();
showTime();
