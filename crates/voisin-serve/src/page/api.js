// Questions to the server. An answer that comes later (503) is waited for; a server that is gone is looked for until it is
// back; a missing token is told to the page, which asks for it.
import { $, Emitter, wait } from "./dom.js";

const BASE = new URL("api/v1/", document.baseURI);
export const events = new Emitter();

/** Why there is no answer: what went wrong and the next step, in the server's words. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || "The server answered " + status + ".");
    this.status = status;
    this.next = problem.next || "";
  }
}
/** The server does not answer at all. */
export class Gone extends Error {}

export const audioOf = id => new URL(`tracks/${id}/audio`, BASE).href;
export const coverOf = id => new URL(`tracks/${id}/cover`, BASE).href;
export const scanEvents = () => new EventSource(new URL("scan", BASE));

let under_way = 0, bar = 0;
function working(change) {
  under_way += change;
  clearTimeout(bar);
  // What takes no time needs no sign.
  bar = setTimeout(() => { $("working").hidden = under_way === 0; }, under_way ? 300 : 0);
}

const later = new Set([502, 503, 504]);

/**
 * Asks, and gives the JSON (or with `as: "response"` the whole answer).
 * `query`: an object, whose lists become several values; `body`: JSON; `file`: the bytes of a file.
 * `waiting`: is told why the answer is late, each time it is. `once`: what changes something is not asked again.
 */
export async function ask(path, { method, query, body, file, signal, waiting, as, once } = {}) {
  const address = new URL(path, BASE);
  for (const [name, value] of Object.entries(query ?? {}))
    for (const one of [value].flat()) if (one !== undefined && one !== null && one !== "") address.searchParams.append(name, one);
  const options = { signal, method: method ?? (body || file ? "POST" : "GET"), headers: {}, credentials: "same-origin" };
  if (body || options.method === "POST" && !file) { options.body = JSON.stringify(body ?? {}); options.headers["Content-Type"] = "application/json"; }
  if (file) {
    options.body = file;
    options.headers["Content-Type"] = /^(audio|video)\//.test(file.type) ? file.type : "application/octet-stream";
  }
  working(1);
  try {
    for (let tries = 0; ; tries++) {
      let answer;
      try {
        answer = await fetch(address, options);
      } catch (error) {
        if (error.name === "AbortError") throw error;
        missing();
        throw new Gone("The server does not answer.");
      }
      if (answer.ok) return as === "response" ? answer : answer.status === 204 ? null : await answer.json();
      const problem = await answer.json().catch(() => ({}));
      if (later.has(answer.status) && tries < 60 && !once) {
        const seconds = Math.min(15, Math.max(1, parseInt(answer.headers.get("Retry-After"), 10) || 2));
        waiting?.(problem.detail || "The server is busy.", seconds);
        await wait(seconds * 1000, signal);
        continue;
      }
      if (answer.status === 401) events.emit("token", problem);
      throw new Refused(answer.status, problem);
    }
  } finally { working(-1); }
}

/**
 * All of a list that comes in pages, read from its beginning again where the library changes meanwhile.
 * `lists`: the fields of the answer that go on from page to page, or functions that add a page to all before it.
 */
export async function askAll(path, lists, options = {}) {
  for (let tries = 0; tries < 5; tries++) {
    const all = await ask(path, { ...options, query: { ...options.query, limit: 1000 } });
    let next = all.next ?? null;
    try {
      while (next !== null) {
        const page = await ask(path, { ...options, query: { ...options.query, limit: 1000, after: next } });
        if (page.generation !== all.generation) break;
        for (const list of lists) if (typeof list === "function") list(all, page); else for (const item of page[list]) all[list].push(item);
        next = page.next;
      }
    } catch (error) {
      // What the page before ended with is no longer there.
      if (error.status !== 404) throw error;
    }
    if (next === null) return all;
  }
  throw new Refused(503, { detail: "The library changes faster than it can be read.", next: "Try again when the scan is done." });
}

/** Looks for a server that is gone until it answers. */
let looking = false;
async function missing() {
  if (looking) return;
  looking = true;
  events.emit("gone");
  for (let pause = 1000; ; pause = Math.min(8000, pause * 1.5)) {
    await wait(pause);
    try { if ((await fetch(new URL("health", BASE))).ok) break; } catch { /* not yet */ }
  }
  looking = false;
  events.emit("back");
}

/** Exchanges the token, or the code that another device shows, for a cookie, which scripts cannot read. */
export async function enter(typed, stay) {
  const code = /^\d{3}[\s-]?\d{3}$/.test(typed);
  await ask("session", { body: code ? { code: typed, stay } : { token: typed, stay } });
}
/** Whether this device may change things, or was let in to listen. */
export async function mayChange() { return (await ask("devices")).rights === "change"; }
