// The state of playback (what should play, from which second), independent of the audio element and the connection. A failed
// element keeps its error: it is loaded again, at the same second.
import { $, Emitter, toast } from "./dom.js";
import {
  Gone,
  Refused,
  audioOf,
  events,
  isGone,
  isThere,
  look,
  request,
  setAwaited,
} from "./api.js";

export const audio = $("audio");
/** Events: "change" (playing, paused or waiting), "playing", "time", "ended", and "unplayable" (the reason). */
export const playback = new Emitter();
/** The entry, whether it should play, and its position in seconds. */
let entry = null,
  sounds = false,
  place = 0;
/** Whether the element must be loaded again, the count of loads, and the position of the last retry after an error. */
let broken = false,
  loads = 0,
  tried = null;
/** Seconds played of this entry before the last load; whether it played when the browser froze the page. */
let before = 0,
  sleeps = false;

export const isOn = () => sounds;
export const seconds = () => place;
/** Whether playback waits for the server. */
export const isWaiting = () => sounds && (broken || (isGone() && isStuck()));
setAwaited(() => sounds);

/** Seconds of the entry that were played. */
function sounded() {
  const { played } = audio;
  let sum = before;
  for (let i = 0; i < played.length; i++) sum += played.end(i) - played.start(i);
  return sum;
}

/** Loads `what` at the second `from` and plays it, or leaves it paused. */
export function begin(what, from, plays) {
  entry = what;
  place = from;
  sounds = plays;
  tried = null;
  load();
  before = 0;
  changed();
}

/** Listens to an event of the audio element. */
export function onAudio(name, f) {
  audio.addEventListener(name, f);
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
    // Other errors: a later load replaced this one, or the element's own event "error" follows.
    if (error.name !== "NotAllowedError") return;
    sounds = false;
    changed();
    toast("The browser needs a press of Play first.");
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
    toast("The server does not answer. Playback continues as soon as it is back.");
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

/** Loads an entry again that was lost with the connection. */
export function recover() {
  if (!entry || entry.address || (!broken && !isStuck())) return;
  tried = null;
  load();
  changed();
}
events.on("back", recover);
events.on("gone", () => playback.emit("change"));

// ---- connections that died silently
/** Seconds without progress after which the connection is checked: at first, and at most. */
const FIRST_DOUBT = 2,
  LAST_DOUBT = 32;
let timer = 0,
  still = 0,
  patience = FIRST_DOUBT,
  had = "";
const isStuck = () =>
  sounds && !audio.ended && audio.readyState < HTMLMediaElement.HAVE_FUTURE_DATA;

// "stalled" fires once, and not in every browser: the buffered ranges are compared instead.
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
  // A disk may be waking up, or the network slow.
  patience = Math.min(LAST_DOUBT, 2 * patience);
  doubt();
}

/** If the server answers on another connection, this one is dead. */
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

// ---- events of the element
/** Seconds of progress since the last retry before another one. */
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
      await request(`tracks/${track.id}/audio`, {
        headers: { Range: "bytes=0-0" },
        as: "response",
      });
      if (turn !== loads) return;
      // The server may have been busy or restarted: one retry at the same second.
      if (tried === null || place > tried + FURTHER) {
        tried = place;
        load();
        changed();
        return;
      }
    } catch (error) {
      // Playback recovers after the sign-in, or when the server is back.
      if (turn !== loads || error instanceof Gone || error.status === 401) return;
      if (!(error instanceof Refused)) throw error;
      why =
        error.status === 404 ? "Its file is no longer where the library found it." : error.message;
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
// The system, or another program, may pause and resume it.
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
// Browsers pause a page that they freeze, and do not resume it.
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
