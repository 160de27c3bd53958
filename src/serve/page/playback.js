// Playback: what should sound, from which second, whatever becomes of the connection. What was lost with it is loaded again at
// the same second.
import { Gone, audioOf, isThere, request } from "./api.js";
import { gone, rights, toast } from "./state.js";

export const audio = document.getElementById("audio");
/** The entry, whether it should sound, and its position in seconds. */
let entry = null,
  sounds = false,
  at = 0;
/** Whether the element must be loaded again, the count of loads, and the position of the last retry after an error. */
let broken = false,
  loads = 0,
  tried = null;
/** Called with "change", "time", "ended", or "unplayable" and the reason. */
let tell = () => {};
export const setListener = (f) => {
  tell = f;
};

export const isOn = () => sounds;
export const seconds = () => at;
const isStuck = () =>
  sounds && !broken && !audio.ended && audio.readyState < HTMLMediaElement.HAVE_FUTURE_DATA;
/** Whether playback waits for the server. */
export const isWaiting = () => sounds && (broken || (gone.value && isStuck()));

/** Loads `what` at the second `from` and plays it, or leaves it paused. */
export function begin(what, from, plays) {
  entry = what;
  at = from;
  sounds = plays;
  tried = null;
  load();
}

function load() {
  broken = false;
  loads++;
  audio.src = entry.address ?? audioOf(entry.track.id);
  if (at) audio.currentTime = at;
  if (sounds) sound();
  tell("change");
}

function sound() {
  audio.play().catch((error) => {
    // Other errors: a later load replaced this one, or the element's own event "error" follows.
    if (error.name !== "NotAllowedError") return;
    sounds = false;
    tell("change");
    toast("The browser needs a press of Play first.");
  });
}

export function pause() {
  sounds = false;
  audio.pause();
  tell("change");
}

export function resume() {
  if (!entry) return;
  sounds = true;
  if (!broken) sound();
  else if (gone.value)
    toast("The server does not answer. Playback continues as soon as it is back.");
  else return recover();
  tell("change");
}

export function move(to) {
  at = to;
  if (!broken) audio.currentTime = to;
  tell("time");
}

/** Loads an entry again that was lost with the connection. */
function recover() {
  if (!entry || entry.address || !(broken || isStuck())) return;
  tried = null;
  load();
}
gone.follow((is) => (is ? tell("change") : recover()));
rights.follow((now) => now !== "none" && broken && recover());

/** Seconds without sound after which the connection is given up, and after which it is again: it may have died silently. */
const PATIENCE = 4,
  AGAIN = 16;
let still = 0;
setInterval(async () => {
  still = isStuck() ? still + 1 : 0;
  const turn = loads;
  if (still % AGAIN === PATIENCE && (await isThere()) && turn === loads && isStuck()) recover();
}, 1000);

// ---- events of the element
/** Seconds of progress since the last retry before another one. */
const FURTHER = 5;
/** Why the element failed; nothing if it waits for the server or the sign-in, or is to be tried again. */
async function reason({ track, address }) {
  const kind = track.codec?.toUpperCase() ?? "this kind of file",
    unknown = `This browser cannot play ${kind}.`;
  if (address) return unknown;
  try {
    await request(`tracks/${track.id}/audio`, { method: "HEAD" });
    return tried === null || at > tried + FURTHER ? null : unknown;
  } catch (error) {
    if (error instanceof Gone || error.status === 401) return undefined;
    return error.status === 404
      ? "Its file is no longer where the library found it."
      : error.message;
  }
}
audio.addEventListener("error", async () => {
  if (!entry || !audio.hasAttribute("src")) return;
  broken = true;
  tell("change");
  const turn = loads,
    why = await reason(entry);
  if (turn !== loads || why === undefined) return;
  if (why !== null) return tell("unplayable", why);
  // The server may have been busy or restarted: one retry at the same second.
  tried = at;
  load();
});
audio.addEventListener("timeupdate", () => {
  if (broken || audio.seeking || audio.readyState === HTMLMediaElement.HAVE_NOTHING) return;
  at = audio.currentTime;
  tell("time");
});
audio.addEventListener("durationchange", () => tell("time"));
audio.addEventListener("ended", () => tell("ended"));
// The system, or another program, may pause and resume it.
audio.addEventListener("play", () => {
  sounds = true;
  tell("change");
});
audio.addEventListener("pause", () => {
  if (!audio.paused || audio.ended || broken) return;
  sounds = false;
  tell("change");
});
for (const name of ["playing", "waiting"]) audio.addEventListener(name, () => tell("change"));
