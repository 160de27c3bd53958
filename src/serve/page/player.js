// The player: its queue, its radio and its volume.
import { Gone, request } from "./api.js";
import { artistOf, count, isolated, sentence, spelled, titleOf } from "./parts.js";
import * as playback from "./playback.js";
import { Shared, announce, gone, keep, rights, toast } from "./state.js";

const { audio, isOn, move, pause, resume, seconds } = playback;
export { isOn, move };

/** Entries are { track, address?, chosen?, follows? }: of the library or (address) a file of the user's; queued by hand; by a radio. */
let queue = [],
  at = -1;
/** At the end of the queue: "off", "all" from the beginning, "one" again; and whether similar music follows. */
let repeat = keep.get("repeat", "off"),
  radio = keep.get("go-on", false);
/** The radio, until something else is played: { seeds, name }. */
let station = keep.get("station", null);
let volume = keep.get("volume", 1),
  unplayable = 0;

export const current = () => queue[at];
/** The current entry's track, and those behind it. */
export const upcoming = () => queue.slice(Math.max(0, at)).map((entry) => entry.track);
export const length = () => audio.duration || current()?.track.seconds || 0;
const goesOn = () => radio || station !== null;

/** What the views show of the player. */
const seen = () => ({
  queue,
  at,
  entry: current(),
  isOn: isOn(),
  isWaiting: playback.isWaiting(),
  repeat,
  goesOn: goesOn(),
  station,
  volume: audio.muted ? 0 : volume,
  muted: audio.muted,
});
export const changes = new Shared(seen());
/** Seconds of the current entry. */
export const time = new Shared(0);
export const isOpen = new Shared(false);
export const openQueue = (open = !isOpen.value) => isOpen.set(open);

function changed() {
  changes.set(seen());
  remember();
  goOn();
}

// ---- what plays
export function start(index, from = 0, plays = true) {
  at = index;
  playback.begin(queue[at], from, plays);
}
function setStation(wanted) {
  station = wanted;
  keep.set("station", wanted);
}
/** Plays these entries, the one at `index` first. */
export function play(entries, index = 0) {
  setStation(null);
  queue = [...entries];
  at = -1;
  if (queue.length) return start(index);
  pause();
  return audio.removeAttribute("src");
}
const isCurrent = ({ track }) => current() !== undefined && current().track.id === track.id;
/** Plays one track now, before the rest of the queue. */
export function playNow(entry) {
  if (isCurrent(entry)) return toggle();
  queue.splice(at + 1, 0, entry);
  return start(at + 1);
}
/** Plays one track of a list: those behind it follow, after the entries that were queued by hand. */
export function playFrom(entry, all) {
  if (isCurrent(entry)) return toggle();
  const chosen = queue.slice(at + 1).filter((one) => one.chosen),
    index = Math.max(
      0,
      all.findIndex(({ track }) => track.id === entry.track.id),
    );
  return play([...all.slice(0, index), entry, ...chosen, ...all.slice(index + 1)], index);
}
const called = (tracks) =>
  tracks.length === 1 ? `“${isolated(titleOf(tracks[0]))}”` : count(tracks.length, "track");
/** Queues entries next, behind those that were queued before. */
export function enqueue(entries) {
  let index = at + 1;
  while (queue[index]?.chosen) index++;
  queue.splice(index, 0, ...entries.map((entry) => ({ ...entry, chosen: true })));
  if (at < 0 && queue.length) start(0);
  else changed();
  toast(`${called(entries.map(({ track }) => track))} will follow`);
}
export function toggle() {
  if (!current()) return;
  if (isOn()) pause();
  else resume();
}
export function step(by) {
  if (by < 0 && seconds() > 3) return move(0);
  let next = at + by;
  if (next >= queue.length && repeat === "all") next = 0;
  if (queue[next]) return start(next);
  return by > 0 ? pause() : undefined;
}
export function seekBy(change) {
  if (current()) move(Math.min(length(), Math.max(0, seconds() + change)));
}
export function setVolume(value) {
  volume = Math.min(1, Math.max(0, value));
  keep.set("volume", volume);
  audio.muted = false;
  audio.volume = volume;
  changed();
}
export function mute() {
  audio.muted = !audio.muted;
  announce(audio.muted ? "Sound off" : "Sound on");
  changed();
}

// ---- the queue
export function drop(index) {
  queue.splice(index, 1);
  if (index < at) at--;
  if (index !== at) return changed();
  at = Math.min(at, queue.length - 1);
  if (queue[at]) start(at, 0, isOn());
  else pause();
  return changed();
}
export function clear() {
  queue = queue.slice(at, at + 1);
  at = queue.length - 1;
  changed();
}
export function shuffle() {
  for (let i = queue.length - 1; i > at + 1; i--) {
    const j = at + 1 + Math.floor(Math.random() * (i - at));
    [queue[i], queue[j]] = [queue[j], queue[i]];
  }
  changed();
}
export function nextRepeat() {
  repeat = { off: "all", all: "one", one: "off" }[repeat];
  keep.set("repeat", repeat);
  changed();
}
/** Saves the queue's tracks of the library, with the library's paths. */
export async function save() {
  const tracks = queue.map((entry) => entry.track).filter(({ id }) => id !== null);
  // Those of the map come without their paths.
  const whole = tracks.map((track) =>
    track.path ? track : request("show", { query: { track: "id:" + track.id } }),
  );
  const lines = (await Promise.all(whole)).map((track) => {
    const title = `${artistOf(track)} - ${titleOf(track)}`.replace(/\s+/g, " ");
    return `#EXTINF:${Math.round(track.seconds ?? -1)},${title}\n${track.path}\n`;
  });
  const file = new Blob(["#EXTM3U\n", ...lines], { type: "audio/x-mpegurl" }),
    link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = "voisin.m3u8";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// ---- radio
/** Most seeds of a radio, the songs that it requests at once, and those of the queue that are named as played. */
const MOST_SEEDS = 50,
  FOLLOWING = 5,
  PLAYED = 200;
/** The last entry after which more songs were requested; whether that request runs. */
let requestedAfter = null,
  isRequesting = false;
/** A radio's songs differ each time, and not all are by one artist. */
const songs = async (seeds, exclude) => {
  const body = { seeds, exclude, limit: FOLLOWING, variety: 0.1, max_per_artist: 3 };
  const { items } = await request("playlist", { body });
  return items.map((track) => ({ track, follows: true }));
};
/** Starts a radio: endless music like these tracks. A single track plays first itself, or goes on if it plays. */
export async function playRadio(tracks) {
  const seeds = tracks.slice(0, MOST_SEEDS).map(({ id }) => ({ id })),
    [track] = tracks,
    name = called(tracks);
  try {
    if (tracks.length > 1) {
      const found = await songs(seeds, seeds);
      // Without other tracks the seeds themselves play.
      play(found.length ? found : tracks.map((one) => ({ track: one })));
    } else if (isCurrent({ track })) {
      queue = queue.slice(0, at + 1);
      if (!isOn()) resume();
    } else play([{ track }]);
    setStation({ seeds, name });
    toast(`Radio: music like ${name} follows`);
    changed();
  } catch (error) {
    toast(spelled(error));
  }
}
export function setRadio(on) {
  radio = on;
  if (!on) setStation(null);
  keep.set("go-on", on);
  changed();
}
/** Whether the last song plays, and similar ones are wanted that were not requested. */
const isShort = () =>
  goesOn() &&
  repeat === "off" &&
  isOn() &&
  at === queue.length - 1 &&
  Number.isInteger(current()?.track.id) &&
  requestedAfter !== current();
/** Extends the queue of a radio, without repetitions, from its seeds or the entry last queued by hand. */
async function goOn() {
  if (!isShort()) return;
  const last = current();
  requestedAfter = last;
  isRequesting = true;
  try {
    const own = queue.filter((entry) => entry.track.id !== null),
      from = own.findLast((entry) => !entry.follows) ?? last,
      seeds = station?.seeds ?? [{ id: from.track.id }],
      played = own.slice(-PLAYED).map((entry) => ({ id: entry.track.id }));
    const found = await songs(seeds, [...seeds, ...played]);
    if (queue.at(-1) !== last) return;
    queue.push(...found);
    isRequesting = false;
    if (!found.length) toast("The radio ends here: no other track is near.");
    if (audio.ended && isOn()) step(1);
    else changed();
  } catch (error) {
    // If the server is unreachable, the request is repeated when it is back.
    if (error instanceof Gone) requestedAfter = null;
    else if (audio.ended && isOn()) pause();
  } finally {
    isRequesting = false;
  }
}
gone.follow((is) => is || goOn());

// ---- state that outlives the page
let noted = 0;
function remember() {
  const near = queue.slice(Math.max(0, at - 50), at + 450),
    kept = near.filter((entry) => entry.track.id !== null);
  const brief = ({ track: { id, title, artist, album, seconds, codec, path }, ...entry }) => ({
    ...entry,
    track: { id, title, artist, album, seconds, codec, path },
  });
  keep.set("player", { queue: kept.map(brief), at: kept.indexOf(current()) });
  notePlace();
}
function notePlace() {
  noted = seconds();
  keep.set("place", noted);
}
addEventListener("pagehide", notePlace);
/** Restores the stored state, paused. */
function recall() {
  const kept = keep.get("player", null);
  if (queue.length || rights.value === "none" || !kept?.queue?.[kept.at]) return;
  queue = kept.queue;
  start(kept.at, keep.get("place", 0), false);
}
rights.follow(recall);

// ---- events of playback
const MOST_UNPLAYABLE = 25;
const happens = {
  change() {
    if (!audio.paused && audio.readyState > 2) unplayable = 0;
    changed();
  },
  time() {
    time.set(seconds());
    if (isOn() && Math.abs(seconds() - noted) > 2) notePlace();
  },
  ended() {
    const awaitsMore = isRequesting || (goesOn() && repeat === "off" && gone.value);
    if (repeat === "one" && current()) start(at);
    else if (at + 1 < queue.length || repeat === "all") step(1);
    else if (!awaitsMore) pause();
  },
  unplayable(why) {
    unplayable++;
    toast(`“${isolated(titleOf(current().track))}” cannot be played. ${sentence(why)}`);
    // The next entry plays, unless too many failed in a row or playback was paused.
    if (isOn() && unplayable < MOST_UNPLAYABLE && at + 1 < queue.length) step(1);
    else pause();
  },
};
playback.setListener((what, why) => happens[what](why));
audio.volume = volume;
