// Small elements and formats of numbers, for every view; an answer of the server that is under way.
import { html, useEffect, useLayoutEffect, useState } from "./html.js";
import { Gone, Refused, coverOf } from "./api.js";

// ---- text
/** Without bidirectional overrides: "safe\u202egnp.exe" would read as a picture. */
const plain = (text) => (typeof text === "string" ? text.replace(/[\u202d\u202e]/g, "") : text);
/** A text from outside (a tag, a file's name) with its own direction, which does not change that of its surroundings. */
export const Name = ({ text, as = "bdi", ...more }) =>
  html`<${as} dir="auto" ...${more} title=${plain(more.title)}>${plain(text)}</${as}>`;
/** The same within plain text. */
export const isolated = (text) => `\u2068${plain(text)}\u2069`;
/** Names with a separator between them, without missing ones. */
export const joined = (parts, sign = " · ") =>
  parts
    .filter(Boolean)
    .flatMap((part, i) => [i ? sign : "", html`<${Name} key=${i} text=${String(part)} />`]);

export const titleOf = (track) => track.title || (track.path ?? "").split("/").pop() || "Untitled";
export const artistOf = (track) => track.artist || track.album_artist || "Unknown artist";
export const sentence = (text) =>
  text ? text[0].toUpperCase() + text.slice(1) + (/[.!?:]$/.test(text) ? "" : ".") : "";
/** Of an error: the message and the next step. */
export const spelled = ({ message, next }) => `${sentence(message)} ${sentence(next)}`.trim();

export function clock(seconds) {
  const t = Math.max(0, Math.floor(seconds || 0)),
    two = (n) => String(n).padStart(2, "0"),
    minutes = Math.floor(t / 60);
  const front = t < 3600 ? minutes : Math.floor(t / 3600) + ":" + two(minutes % 60);
  return front + ":" + two(t % 60);
}
/** 3 h 20 min; 12 min; 40 s. */
export function span(seconds) {
  if (seconds < 90) return Math.round(seconds) + " s";
  const minutes = Math.round(seconds / 60);
  return minutes < 60
    ? minutes + " min"
    : Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
}
export const count = (n, one, many = one + "s") =>
  n.toLocaleString("en") + " " + (n === 1 ? one : many);
/** 4.2 MB, 289.2 GB. */
export const bytes = (n) =>
  n >= 1e9 ? (n / 1e9).toFixed(1) + " GB" : (n / 1e6).toFixed(1) + " MB";
export const percent = (share) => Math.round(share * 100) + " %";
export const capital = (name) => name[0].toUpperCase() + name.slice(1).replaceAll("-", " ");
/** 128 bpm; Am · 8A; −9.3 LUFS. */
export const measured = {
  tempo: (t) => (t.tempo ? Math.round(t.tempo) + " bpm" : null),
  key: (t) =>
    t.key ? t.key.replace("b", "♭").replace("#", "♯") + (t.camelot ? " · " + t.camelot : "") : null,
  loudness: (t) =>
    Number.isFinite(t.loudness) ? t.loudness.toFixed(1).replace("-", "−") + " LUFS" : null,
};

// ---- elements
export const Icon = ({ name }) =>
  html`<svg aria-hidden="true"><use href=${"#i-" + name}></use></svg>`;

/** A button that shows an icon; its label is for screen readers. */
export const IconButton = ({ icon, label, class: more = "", ...rest }) => html`
  <button type="button" class=${"quiet " + more} title=${label} aria-label=${label} ...${rest}>
    <${Icon} name=${icon} />
  </button>`;

/** Buttons of which one is pressed, with their labels. */
export const Choice = ({ label, choices, now, choose }) => html`
  <div class="segments" role="group" aria-label=${label}>
    ${Object.entries(choices).map(
      ([name, text]) => html`
        <button type="button" data-name=${name} aria-pressed=${String(name === now)}
          onClick=${() => choose(name)}>${text}</button>`,
    )}
  </div>`;

/** A place with its title. */
export const Page = ({ name, title, about, children }) => html`
  <div class=${`page ${name}-page`}>
    <header class="page-head">
      <h1>${title}</h1>
      ${about && html`<p class="faint">${about}</p>`}
    </header>
    ${children}
  </div>`;

/** A part of a card or a place. */
export const Part = ({ title, children }) => html`
  <section class="part"><h3>${title}</h3><div>${children}</div></section>`;

/** A hash of a text (FNV-1a). */
const number = (text) =>
  [...text].reduce((n, c) => Math.imul(n ^ c.codePointAt(0), 16777619) >>> 0, 2166136261) >>> 7;
/** The picture in the file; until it has loaded, and without one, a plain square in the album's colour. */
export function Cover({ track, large }) {
  const [has, setHas] = useState(false),
    letter = [...(track.artist || titleOf(track))][0]?.toUpperCase() ?? "·",
    hue = number(track.album || artistOf(track)) % 360;
  return html`
    <span class=${"cover" + (large ? " large" : "") + (has ? " has" : "")} aria-hidden="true"
      style=${{ "--hue": hue }}>
      <span class="letter" data-letter=${letter}></span>
      ${
        track.id !== null &&
        html`<img alt="" loading=${large ? "eager" : "lazy"} src=${coverOf(track.id)}
          onLoad=${() => setHas(true)} />`
      }
    </span>`;
}

// ---- answers
/** The answer to a request: { value }, { error }, or { note } (why it is late); and `again`. */
export function useAnswer(work, inputs) {
  const [answer, setAnswer] = useState({}),
    [turn, setTurn] = useState(0);
  useLayoutEffect(() => {
    const left = new AbortController(),
      { signal } = left;
    const show = (change) => signal.aborted || setAnswer(change);
    const waiting = (why, seconds) =>
      show({ note: `${sentence(why)} Trying again in ${seconds} s.` });
    work({ signal, waiting }).then(
      (value) => show({ value }),
      (error) => show({ error }),
    );
    return () => left.abort();
  }, [...inputs, turn]);
  const again = () => {
    setAnswer({});
    setTurn((n) => n + 1);
  };
  return { ...answer, again };
}

/** What `show` makes of an answer; until it has come a skeleton, or the reason why there is none. */
export function loaded(answer, show) {
  if (answer.error) return html`<${Trouble} ...${answer} />`;
  if (answer.value === undefined) return html`<${Skeleton} note=${answer.note} />`;
  return show(answer.value);
}

/** Nothing for a moment, since most answers are quick. */
function Skeleton({ note }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 100);
    return () => clearTimeout(timer);
  }, []);
  return html`
    <div aria-busy="true">
      ${note && html`<p class="slow" role="status">${note}</p>`}
      ${
        late &&
        html`<div class="skeleton" aria-hidden="true">
          ${[1, 2, 3, 4, 5].map(() => html`<div><i></i><span></span></div>`)}
        </div>`
      }
    </div>`;
}

/** An empty state: its reason, and what to do. */
export const Empty = ({ title, children }) =>
  html`<div class="empty-state"><h2>${title}</h2>${children}</div>`;

function Trouble({ error, again }) {
  // The sign-in dialog covers it.
  if (error.status === 401) return null;
  if (error instanceof Gone)
    return html`<${Empty} title="The server does not answer">
      <p>This page reloads by itself as soon as it is back.</p>
    <//>`;
  const isRefused = error instanceof Refused && error.status < 500;
  // A next step with a route of the API is for programs.
  return html`<${Empty} title=${isRefused ? "The request failed" : "Something went wrong"}>
    <p>${sentence(error.message)}</p>
    ${error.next && !error.next.includes("/api/") && html`<p class="faint">${sentence(error.next)}</p>`}
    <button type="button" onClick=${again}>Try again</button>
  <//>`;
}
