// Requests to the server. A response of 503 is retried after its Retry-After; an unreachable server is polled until it is back.
import { gone, rights } from "./state.js";

const BASE = new URL("api/v1/", document.baseURI);

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

const wait = (milliseconds, signal) =>
  new Promise((done, failed) => {
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      failed(new DOMException("left", "AbortError"));
    });
  });

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

function optionsOf({ method, body, file, signal }) {
  const options = {
    signal,
    method: method ?? (body || file ? "POST" : "GET"),
    headers: {},
    credentials: "same-origin",
  };
  if (file) {
    options.body = file;
    options.headers["Content-Type"] = /^(audio|video)\//.test(file.type)
      ? file.type
      : "application/octet-stream";
  } else if (body || options.method === "POST") {
    options.body = JSON.stringify(body ?? {});
    options.headers["Content-Type"] = "application/json";
  }
  return options;
}

/** The server's response, or an error. */
async function sent(address, options) {
  const answer = await fetch(address, options).catch((error) => {
    if (error.name === "AbortError") throw error;
  });
  if (answer && !isByProxy(answer)) return answer;
  poll();
  throw new Gone("The server does not answer.");
}

/**
 * Sends a request and returns the JSON.
 * `query`: an object, whose lists become several values; `body`: JSON; `file`: the bytes of a file.
 * `waiting`: called with the reason before each retry. `once`: no retry, for requests that change something.
 */
export async function request(path, wanted = {}) {
  const address = addressOf(path, wanted.query),
    options = optionsOf(wanted);
  for (let tries = 0; ; tries++) {
    const answer = await sent(address, options);
    const isEmpty = answer.status === 204 || options.method === "HEAD";
    if (answer.ok) return isEmpty ? null : await answer.json();
    const problem = await answer.json().catch(() => ({}));
    if (answer.status === 401) rights.set("none");
    if (answer.status !== 503 || tries >= 60 || wanted.once)
      throw new Refused(answer.status, problem);
    const asked = parseInt(answer.headers.get("Retry-After"), 10) || 2,
      seconds = Math.min(15, Math.max(1, asked));
    wanted.waiting?.(problem.detail || "The server is busy.", seconds);
    await wait(seconds * 1000, wanted.signal);
  }
}

// ---- a server that is gone
/** Milliseconds between two polls, and the timeout of one: some networks drop packets silently. */
const PAUSE = 1000,
  PATIENCE = 4000;

async function answers() {
  const signal = AbortSignal.timeout(PATIENCE);
  const answer = fetch(new URL("health", BASE), { cache: "no-store", signal });
  return answer.then(
    ({ ok }) => ok,
    () => false,
  );
}
/** Whether the server answers; if not, it is polled. */
export async function isThere() {
  if (gone.value) return false;
  const found = await answers();
  if (!found) poll();
  return found;
}
/** Polls the server until it answers. */
async function poll() {
  if (gone.value) return;
  gone.set(true);
  do await wait(PAUSE);
  while (!(await answers()));
  gone.set(false);
}

// ---- sign-in
/** Exchanges the token for a cookie that scripts cannot read. */
export async function enter(token, stay) {
  await request("session", { body: { token, stay } });
  await loadRights();
}
/** Whether this device may change the library, or only search and play. */
export async function loadRights() {
  rights.set((await request("session")).rights);
}
