// The states of a place: loading, empty, failed, late.
import { h, wait } from "./dom.js";
import { Gone, Refused } from "./api.js";

export function skeleton(rows = 5) {
  return h(
    "div",
    { class: "skeleton", "aria-hidden": "true" },
    Array.from({ length: rows }, () => h("div", {}, h("i", {}), h("span", {}))),
  );
}

/** Returns a function that makes a place of its parts, below its title and `more`. */
export function framed(name, title, ...more) {
  const head = h("header", { class: "page-head" }, h("h1", {}, title), ...more);
  return (...parts) => h("div", { class: `page ${name}-page`, "data-scrolls": "" }, head, ...parts);
}

/** An empty state: its reason, and what to do. */
export function empty(title, ...more) {
  return h(
    "div",
    { class: "empty-state" },
    h("h2", {}, title),
    more.map((part) => (typeof part === "string" ? h("p", {}, part) : part)),
  );
}

const sentence = (text) =>
  text ? text[0].toUpperCase() + text.slice(1) + (/[.!?:]$/.test(text) ? "" : ".") : "";

export function trouble(error, again) {
  // The sign-in dialog covers it.
  if (error.status === 401) return "";
  if (error instanceof Gone)
    return empty(
      "The server does not answer",
      "This page reloads by itself as soon as it is back.",
    );
  return empty(
    error instanceof Refused && error.status < 500 ? "The request failed" : "Something went wrong",
    // A next step with a route of the API is for programs.
    sentence(error.message),
    error.next && !error.next.includes("/api/")
      ? h("p", { class: "faint" }, sentence(error.next))
      : null,
    again ? h("button", { type: "button", onclick: again }, "Try again") : null,
  );
}

/**
 * Renders the result of `work` into `place`. `work` gets the `waiting` function for `request`.
 * A quick answer is rendered once; a slow one shows a skeleton first, a retry its reason. `frame` makes a whole place, whose title
 * shows at once.
 */
export async function load(place, signal, work, render, frame) {
  let done = false;
  const note = h("p", { class: "slow", role: "status" });
  const put = (...parts) => place.replaceChildren(...(frame ? [frame(...parts)] : parts));
  const show = () => {
    if (!done && !signal.aborted) {
      put(note, skeleton());
      place.setAttribute("aria-busy", "true");
    }
  };
  const timers = [
    setTimeout(show, frame ? 0 : 200),
    setTimeout(() => {
      if (!note.textContent) note.textContent = "This takes a moment in a large library…";
    }, 4000),
  ];
  const waiting = (why, seconds) => {
    note.textContent = sentence(why) + ` Trying again in ${seconds} s.`;
    show();
  };
  try {
    const value = await work(waiting);
    done = true;
    if (!signal.aborted) {
      place.replaceChildren();
      await render(value);
    }
  } catch (error) {
    done = true;
    if (signal.aborted || error.name === "AbortError") return;
    if (!(error instanceof Refused || error instanceof Gone)) console.error(error);
    put(trouble(error, () => load(place, signal, work, render, frame)));
  } finally {
    timers.forEach(clearTimeout);
    place.removeAttribute("aria-busy");
  }
}

export { sentence, wait };
