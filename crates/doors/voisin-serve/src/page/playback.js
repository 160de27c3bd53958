// What should sound, and from where: the one place that knows it, whatever becomes of the audio element and of the connection.
// An element that failed keeps its error and plays nothing any more: it is loaded again, at the place where it was.
import { $, Emitter, toast } from "./dom.js";
import { Gone, Refused, ask, audioOf, events, isGone, isThere, look, setAwaited } from "./api.js";

/** The element that sounds, and the one that loads what comes next: they change places. */
export let audio = $("audio");
let ahead = $("ahead"),
  isAhead = null;
/** Tells "change" (it is to sound, to rest, or waits), "playing", "time", "ended", and "unplayable" (why not). */
export const playback = new Emitter();
/** What is loaded, whether it should sound, and the second that it has come to. */
let entry = null,
  sounds = false,
  place = 0;
/** Whether the element has to be loaded before it can sound, how often it was, and from where since the server was there last. */
let broken = false,
  loads = 0,
  tried = null;
/** Seconds of this entry that sounded before it was loaded again; whether it sounded when the browser put the page to sleep. */
let before = 0,
  sleeps = false;

export const isOn = () => sounds;
export const seconds = () => place;
/** Whether it should sound, and cannot until the server answers. */
export const isWaiting = () => sounds && (broken || (isGone() && isStuck()));
setAwaited(() => sounds);

/** Seconds that sounded of what is loaded. */
export function sounded() {
  const { played } = audio;
  let sum = before;
  for (let i = 0; i < played.length; i++) sum += played.end(i) - played.start(i);
  return sum;
}

/** Loads `what`, to sound from `from` on, or to rest there until it is asked for. */
export function begin(what, from, plays) {
  entry = what;
  place = from;
  sounds = plays;
  tried = null;
  if (from || !takeAhead()) load();
  before = 0;
  changed();
}

/** Loads the beginning of what comes next, so that there is no gap before it. */
export function prepare(next) {
  if (!next || next.address || next.from || isGone() || isAhead === next.track.id) return;
  isAhead = next.track.id;
  ahead.src = audioOf(next.track.id);
  ahead.load();
}

/** Whether what is to begin was loaded already: it sounds at once. */
function takeAhead() {
  const isReady =
    entry.track.id !== null &&
    entry.track.id === isAhead &&
    !entry.address &&
    !ahead.error &&
    ahead.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA;
  if (!isReady) return false;
  const last = audio;
  last.pause();
  last.id = "ahead";
  ahead.id = "audio";
  ahead.volume = last.volume;
  ahead.muted = last.muted;
  audio = ahead;
  ahead = last;
  isAhead = null;
  ahead.removeAttribute("src");
  ahead.load();
  broken = false;
  loads++;
  if (sounds) sound();
  return true;
}

/** Listens to the element that sounds, whichever of the two it is. */
export function onAudio(name, f) {
  for (const element of [audio, ahead])
    element.addEventListener(name, (event) => {
      if (event.target === audio) f(event);
    });
}

function load() {
  before = sounded();
  broken = false;
  loads++;
  audio.src = entry.address ?? audioOf(entry.track.id);
  if (place) audio.currentTime = place;
  if (sounds) sound();
}

function sound() {
  audio.play().catch((error) => {
    // Another load has taken its place, or the element tells its error itself.
    if (error.name !== "NotAllowedError") return;
    sounds = false;
    changed();
    toast("The browser asks for a press of Play first.");
  });
}

export function pause() {
  sounds = false;
  audio.pause();
  changed();
}

export function resume() {
  if (!entry) return;
  sounds = true;
  if (broken && isGone()) {
    look();
    toast("The server does not answer. The music goes on as soon as it is back.");
  } else if (broken) {
    tried = null;
    load();
  } else sound();
  changed();
}

export function move(to) {
  place = to;
  if (!broken) audio.currentTime = to;
  playback.emit("time");
}

/** Loads again what the connection has cost. */
export function recover() {
  if (!entry || entry.address || (!broken && !isStuck())) return;
  tried = null;
  load();
  changed();
}
events.on("back", recover);
events.on("gone", () => playback.emit("change"));

// ---- a connection that died without a word
/** Seconds without anything more, after which the connection is doubted: of the first doubt, and of the last. */
const FIRST_DOUBT = 2,
  LAST_DOUBT = 32;
let timer = 0,
  still = 0,
  patience = FIRST_DOUBT,
  had = "";
const isStuck = () =>
  sounds && !audio.ended && audio.readyState < HTMLMediaElement.HAVE_FUTURE_DATA;

// "stalled" comes once, and not from every browser: what has arrived is looked at instead.
function watch() {
  const has = [
    audio.currentTime,
    ...Array.from({ length: audio.buffered.length }, (_, i) => audio.buffered.end(i)),
  ].join();
  if (broken || !isStuck()) patience = FIRST_DOUBT;
  still = broken || !isStuck() || has !== had ? 0 : still + 1;
  had = has;
  if (still < patience) return;
  still = 0;
  // A disk that wakes up, or a slow network, is given more time.
  patience = Math.min(LAST_DOUBT, 2 * patience);
  doubt();
}

/** A server that answers on another connection has lost this one. */
async function doubt() {
  const turn = loads;
  if (!entry || entry.address || broken || !isStuck()) return;
  if ((await isThere()) && turn === loads && isStuck()) recover();
}
events.on("look", doubt);

function changed() {
  clearInterval(timer);
  if (sounds) timer = setInterval(watch, 1000);
  playback.emit("change");
}

// ---- what the element tells
/** Seconds that a second try has to get further than the first one. */
const FURTHER = 5;
onAudio("error", async () => {
  if (!entry || !audio.hasAttribute("src")) return;
  const { track, address } = entry,
    turn = loads;
  broken = true;
  playback.emit("change");
  let why =
    "This browser cannot play " +
    (track.codec ? track.codec.toUpperCase() : "this kind of file") +
    ".";
  if (!address) {
    try {
      if (!(await isThere()) || turn !== loads) return;
      await ask(`tracks/${track.id}/audio`, { headers: { Range: "bytes=0-0" }, as: "response" });
      if (turn !== loads) return;
      // It was busy, or was started anew: once more, from the same place.
      if (tried === null || place > tried + FURTHER) {
        tried = place;
        load();
        changed();
        return;
      }
    } catch (error) {
      // Who has to sign in, or waits for the server, goes on after that.
      if (turn !== loads || error instanceof Gone || error.status === 401) return;
      if (!(error instanceof Refused)) throw error;
      why =
        error.status === 404 ? "Its file is no longer where the library knows it." : error.message;
    }
  }
  playback.emit("unplayable", why);
});
onAudio("timeupdate", () => {
  if (broken || audio.seeking || audio.readyState === HTMLMediaElement.HAVE_NOTHING) return;
  place = audio.currentTime;
  playback.emit("time");
});
onAudio("seeking", () => {
  place = audio.currentTime;
});
onAudio("durationchange", () => playback.emit("time"));
onAudio("ended", () => playback.emit("ended"));
// The system, or another program, may stop it and let it go on.
onAudio("play", () => {
  if (!sounds) {
    sounds = true;
    changed();
  }
});
onAudio("pause", () => {
  if (sounds && audio.paused && !audio.ended && !broken && !sleeps) {
    sounds = false;
    changed();
  }
});
// A page that the browser puts to sleep is paused by it, and not let go on.
document.addEventListener("freeze", () => {
  sleeps = sounds;
});
document.addEventListener("resume", () => {
  if (!sleeps) return;
  sleeps = false;
  resume();
  look();
});
for (const name of ["playing", "waiting"])
  onAudio(name, () => playback.emit(name === "playing" ? "playing" : "change"));
