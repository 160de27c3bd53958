// Elements, icons and formats of numbers, for every view. Text is only ever set as text, so that no tag of a file becomes
// markup.

export const $ = (id) => document.getElementById(id);

/** An element: h("button", { class: "quiet", onclick: f, vars: { "--x": 1 } }, "text", child, …). Absent parts are left out. */
export function h(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") element.className = value;
    else if (key === "vars")
      for (const [n, v] of Object.entries(value)) element.style.setProperty(n, v);
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked" || key === "disabled") element[key] = value;
    else element.setAttribute(key, value === true ? "" : plain(value));
  }
  element.append(
    ...children
      .flat(9)
      .filter((child) => child !== undefined && child !== null && child !== false)
      .map(plain),
  );
  return element;
}

/** Without bidirectional overrides: "safe\u202egnp.exe" would read as a picture. */
const plain = (text) => (typeof text === "string" ? text.replace(/[\u202d\u202e]/g, "") : text);

/** A text from outside (a tag, a file's name) with its own direction, which does not change that of its surroundings. */
export const name = (text, element = "bdi", more = {}) =>
  h(element, { dir: "auto", ...more }, text);
/** The same within plain text. */
export const isolated = (text) => `\u2068${plain(text)}\u2069`;
/** Names with a separator between them, without missing ones. */
export const joined = (parts, sign = " · ") =>
  parts
    .filter(Boolean)
    .map((part) => (part instanceof Node ? part : name(part)))
    .flatMap((part, i) => (i ? [sign, part] : [part]));

export function icon(name) {
  const space = "http://www.w3.org/2000/svg",
    svg = document.createElementNS(space, "svg"),
    use = document.createElementNS(space, "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", "#i-" + name);
  svg.append(use);
  return svg;
}

/** Links to the parts of a place: [address, label, whether it is the current one]. */
export function segments(label, links) {
  return h(
    "nav",
    { class: "segments", "aria-label": label },
    links.map(([href, text, now]) => h("a", { href, "aria-current": now ? "page" : null }, text)),
  );
}

/** A button that shows an icon; its label is for screen readers. */
export function iconButton(name, label, onclick, more = {}) {
  return h(
    "button",
    {
      type: "button",
      title: label,
      "aria-label": label,
      onclick,
      ...more,
      class: "quiet " + (more.class ?? ""),
    },
    icon(name),
  );
}

export function setIcon(button, name, label) {
  button.querySelector("use").setAttribute("href", "#i-" + name);
  if (label) button.querySelector(".sr-only").textContent = label;
}

export function clock(seconds) {
  const t = Math.max(0, Math.floor(seconds || 0)),
    two = (n) => String(n).padStart(2, "0"),
    hours = Math.floor(t / 3600);
  return (
    (hours ? hours + ":" + two(Math.floor(t / 60) % 60) : Math.floor(t / 60)) + ":" + two(t % 60)
  );
}

/** 3 h 20 min; 12 min; 40 s. */
export function span(seconds) {
  const minutes = Math.round(seconds / 60);
  if (seconds < 90) return Math.round(seconds) + " s";
  return minutes < 60
    ? minutes + " min"
    : Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
}

export const count = (n, one, many = one + "s") =>
  n.toLocaleString("en") + " " + (n === 1 ? one : many);
/** 4.2 MB, 289.2 GB. */
export const bytes = (n) =>
  n >= 1e9
    ? (n / 1e9).toFixed(1) + " GB"
    : n >= 1e6
      ? (n / 1e6).toFixed(1) + " MB"
      : Math.ceil(n / 1e3) + " kB";
export const percent = (share) => Math.round(share * 100) + " %";
/** 128 beats a minute; Am (8A); -9.3 LUFS. */
export const measured = {
  tempo: (t) => (t.tempo ? Math.round(t.tempo) + " bpm" : null),
  key: (t) =>
    t.key ? t.key.replace("b", "♭").replace("#", "♯") + (t.camelot ? " · " + t.camelot : "") : null,
  loudness: (t) =>
    t.loudness === null || t.loudness === undefined
      ? null
      : t.loudness.toFixed(1).replace("-", "−") + " LUFS",
};

/** Announces an event to screen readers. */
export function announce(text) {
  $("announcement").textContent = "";
  setTimeout(() => {
    $("announcement").textContent = text;
  }, 30);
}

/** A short notice that disappears by itself; `action`: [label, function]. */
export function toast(text, action) {
  const box = h("div", { class: "toast" }, h("span", {}, text));
  const gone = () => box.remove();
  if (action)
    box.append(
      h(
        "button",
        {
          type: "button",
          onclick: () => {
            gone();
            action[1]();
          },
        },
        action[0],
      ),
    );
  box.append(iconButton("close", "Close this notice", gone));
  $("toasts").append(box);
  while ($("toasts").children.length > 3) $("toasts").firstChild.remove();
  setTimeout(gone, action ? 12000 : 6000);
  return box;
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

/** Events: emitter.on("name", f), emitter.emit("name", value). */
export class Emitter {
  #listeners = new Map();
  on(name, f, signal) {
    const set = this.#listeners.get(name) ?? this.#listeners.set(name, new Set()).get(name);
    set.add(f);
    signal?.addEventListener("abort", () => set.delete(f));
  }
  emit(name, value) {
    for (const f of [...(this.#listeners.get(name) ?? [])]) f(value);
  }
}

export const wait = (milliseconds, signal) =>
  new Promise((done, failed) => {
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      failed(new DOMException("left", "AbortError"));
    });
  });

/** Events of the player: "change" (another track, play, pause). */
export const changes = new Emitter();
