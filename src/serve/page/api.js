// Requests to the server. A response of 503 is retried after its Retry-After; an unreachable server is polled until it is back;
// a missing token raises the event "token", on which the page shows its sign-in dialog.
import { $, Emitter, wait } from "./dom.js";

const BASE = new URL("api/v1/", document.baseURI);
export const events = new Emitter();

/** An error response: the server's message and the next step. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || "The server answered " + status + ".");
    this.status = status;
    this.next = problem.next || "";
  }
}
/** The server cannot be reached. */
export class Gone extends Error {}

export const audioOf = (id) => new URL(`tracks/${id}/audio`, BASE).href;
export const coverOf = (id) => new URL(`tracks/${id}/cover`, BASE).href;
export const scanEvents = () => new EventSource(new URL("scan", BASE));

let under_way = 0,
  bar = 0;
function working(change) {
  under_way += change;
  clearTimeout(bar);
  // Quick requests show no bar.
  bar = setTimeout(
    () => {
      $("working").hidden = under_way === 0;
    },
    under_way ? 300 : 0,
  );
}

/** A proxy responds for a server that is down; the server itself always sends Retry-After. */
const isByProxy = (answer) =>
  answer.status === 502 ||
  answer.status === 504 ||
  (answer.status === 503 && !answer.headers.has("Retry-After"));

function addressOf(path, query) {
  const address = new URL(path, BASE);
  for (const [name, value] of Object.entries(query ?? {}))
    for (const one of [value].flat())
      if (one !== undefined && one !== null && one !== "") address.searchParams.append(name, one);
  return address;
}

/**
 * Sends a request and returns the JSON.
 * `query`: an object, whose lists become several values; `body`: JSON; `file`: the bytes of a file.
 * `waiting`: called with the reason before each retry. `once`: no retry, for requests that change something.
 */
export async function request(path, { method, query, body, file, signal, waiting, once } = {}) {
  const address = addressOf(path, query);
  const options = {
    signal,
    method: method ?? (body || file ? "POST" : "GET"),
    headers: {},
    credentials: "same-origin",
  };
  if (body || (options.method === "POST" && !file)) {
    options.body = JSON.stringify(body ?? {});
    options.headers["Content-Type"] = "application/json";
  }
  if (file) {
    options.body = file;
    options.headers["Content-Type"] = /^(audio|video)\//.test(file.type)
      ? file.type
      : "application/octet-stream";
  }
  working(1);
  try {
    for (let tries = 0; ; tries++) {
      let answer;
      try {
        answer = await fetch(address, options);
      } catch (error) {
        if (error.name === "AbortError") throw error;
      }
      if (!answer || isByProxy(answer)) {
        missing();
        throw new Gone("The server does not answer.");
      }
      if (answer.ok) return answer.status === 204 ? null : await answer.json();
      const problem = await answer.json().catch(() => ({}));
      if (answer.status === 503 && tries < 60 && !once) {
        const seconds = Math.min(
          15,
          Math.max(1, parseInt(answer.headers.get("Retry-After"), 10) || 2),
        );
        waiting?.(problem.detail || "The server is busy.", seconds);
        await wait(seconds * 1000, signal);
        continue;
      }
      if (answer.status === 401) events.emit("token", problem);
      throw new Refused(answer.status, problem);
    }
  } finally {
    working(-1);
  }
}

// ---- a server that is gone
/** Milliseconds between two polls: at first, while playback waits for the server, and at most. */
const FIRST_LOOK = 500,
  LOOK_FOR_MUSIC = 1000,
  LAST_LOOK = 8000;
/** Timeout of a poll in milliseconds, for networks that drop packets silently. Polls do not wait for one another. */
const PATIENCE = 4000;
let looking = false,
  atOnce = () => {},
  isAwaited = () => false;
export const isGone = () => looking;
/** `f` returns whether playback waits for the server. */
export function setAwaited(f) {
  isAwaited = f;
}

async function answers() {
  try {
    return (
      await fetch(new URL("health", BASE), {
        cache: "no-store",
        signal: AbortSignal.timeout(PATIENCE),
      })
    ).ok;
  } catch {
    return false;
  }
}

/** Whether the server answers; if not, polling starts. */
export async function isThere() {
  if (looking) return false;
  const found = await answers();
  if (!found) missing();
  return found;
}

/** Polls the server until it answers. */
async function missing() {
  if (looking) return;
  looking = true;
  events.emit("gone");
  let found = false;
  for (let pause = FIRST_LOOK; !found; pause = Math.min(LAST_LOOK, pause * 1.5)) {
    await new Promise((done) => {
      const timer = setTimeout(done, isAwaited() ? Math.min(LOOK_FOR_MUSIC, pause) : pause);
      atOnce = () => {
        clearTimeout(timer);
        done();
      };
    });
    if (!found)
      answers().then((is) => {
        if (is) {
          found = true;
          atOnce();
        }
      });
  }
  looking = false;
  events.emit("back");
}

/** Polls at once: the device woke up, is online again, or the user pressed Play. */
export function look() {
  atOnce();
  events.emit("look");
}
addEventListener("online", look);
addEventListener("pageshow", look);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});

/** Exchanges the token for a cookie that scripts cannot read. */
export async function enter(token, stay) {
  await request("session", { body: { token, stay } });
}
/** Whether this device may change the library, or only search and play. */
export async function mayChange() {
  return (await request("session")).rights === "change";
}
