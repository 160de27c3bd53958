// The state that views share, and the part of it that the browser keeps.
import { useLayoutEffect, useState } from "./html.js";

/** A value that views follow. */
export class Shared {
  #followers = new Set();
  constructor(value) {
    this.value = value;
  }
  set(value) {
    this.value = value;
    for (const f of [...this.#followers]) f(value);
  }
  /** Returns a function that ends it. */
  follow(f) {
    this.#followers.add(f);
    return () => this.#followers.delete(f);
  }
}

/** The value of a `Shared`; the component is drawn anew when it changes. */
export function useShared(shared) {
  const [, draw] = useState(null);
  useLayoutEffect(() => shared.follow(() => draw({})), [shared]);
  return shared.value;
}

/** Values of this page in a store of the browser, if it allows that. */
const kept = (store) => ({
  get(name, other) {
    try {
      return JSON.parse(store().getItem("voisin-" + name)) ?? other;
    } catch {
      return other;
    }
  },
  set(name, value) {
    try {
      store().setItem("voisin-" + name, JSON.stringify(value));
    } catch {
      /* a private window */
    }
  },
});
/** Settings that last. */
export const keep = kept(() => localStorage);
/** Values that last as long as this tab. */
export const keepHere = kept(() => sessionStorage);

/** "#/track/17" is the card of a track in the place "listen". */
function route() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean);
  return { parts, name: ["track", "file"].includes(parts[0]) ? "listen" : (parts[0] ?? "listen") };
}
export const place = new Shared(route());
addEventListener("hashchange", () => place.set(route()));

/** "change", "read", or "none": the page asks for the token. */
export const rights = new Shared(keep.get("rights", null));
rights.follow((now) => now !== "none" && keep.set("rights", now));

/** What is searched for, and whether among "names" or by "sound". */
export const search = new Shared({
  text: keepHere.get("searched", ""),
  kind: keep.get("search", "names"),
});
search.follow(({ text, kind }) => {
  keepHere.set("searched", text);
  keep.set("search", kind);
});

/** Whether the server cannot be reached. */
export const gone = new Shared(false);

/** The words that screen readers are told. */
export const announcement = new Shared("");
export const announce = (text) => announcement.set(text);

/** Short notices that disappear by themselves. */
export const toasts = new Shared([]);
export function toast(text) {
  const one = { text };
  toasts.set([...toasts.value, one].slice(-3));
  setTimeout(() => toasts.set(toasts.value.filter((other) => other !== one)), 6000);
}
