// The page: its frame, sign-in, and files of the user's.
import { html, render, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { enter, loadRights, request } from "./api.js";
import { Bar } from "./bar.js";
import { take } from "./card.js";
import { Genres } from "./genres.js";
import { listenToKeys } from "./keys.js";
import { Library } from "./library.js";
import { Listen } from "./listen.js";
import * as map from "./map.js";
import { Icon, sentence } from "./parts.js";
import * as player from "./player.js";
import { Review } from "./review.js";
import { announcement, gone, place, rights, search, toasts, useShared } from "./state.js";

/** Address, label and view of each place. */
const PLACES = {
  listen: ["#/", "Listen", Listen],
  map: ["#/map", "Map", map.MapPlace],
  genres: ["#/genres", "Genres", Genres],
  review: ["#/review", "Review", Review],
  library: ["#/library", "Library", Library],
};

function App() {
  const { name, parts } = useShared(place),
    may = useShared(rights),
    isGone = useShared(gone),
    [turn, setTurn] = useState(0);
  // Only who may change labels reviews them.
  const known = Object.keys(PLACES).filter((one) => one !== "review" || may === "change"),
    now = known.includes(name) ? name : "listen";
  // Each place is drawn anew when the server is back.
  useEffect(() => gone.follow((is) => is || setTurn((n) => n + 1)), []);
  const View = PLACES[now][2];
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <${Top} now=${now} />
    <nav id="places" aria-label="Places">
      ${known.map(
        (one) => html`
          <a key=${one} href=${PLACES[one][0]} aria-current=${one === now ? "page" : null}>
            <${Icon} name=${one} /><span>${PLACES[one][1]}</span>
          </a>`,
      )}
    </nav>
    ${isGone && html`<${Lost} />`}
    <main id="main" tabindex="-1">
      ${may && may !== "none" && html`<${View} key=${now + turn} parts=${parts} />`}
    </main>
    <${Bar} />
    ${may === "none" && html`<${SignIn} done=${() => setTurn(turn + 1)} />`}
    <${Toasts} />
    <div id="announcement" class="sr-only" role="status" aria-live="polite">
      ${useShared(announcement)}
    </div>`;
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

const Lost = () => html`
  <div id="notice" role="alert">
    The server does not answer. This page will reconnect by itself.
    <small>To start it: <code>voisin serve</code></small>
  </div>`;

const Toasts = () => html`
  <div id="toasts" role="status" aria-live="polite">
    ${useShared(toasts).map(({ text }) => html`<div class="toast"><span>${text}</span></div>`)}
  </div>`;

// ---- the top: search, and a file of the user's
/** Searches as one types; a card makes room for what is found where there is none for both. */
function seek({ target }) {
  search.set({ ...search.value, text: target.value });
  const { name, parts } = place.value,
    isCovered = parts.length && matchMedia("(max-width: 999px)").matches;
  if (name !== "map" && (name !== "listen" || isCovered)) location.hash = "#/";
}

function Top({ now }) {
  const { text, kind } = useShared(search),
    file = useRef();
  const submit = (event) => {
    event.preventDefault();
    if (now === "map") map.showFound();
    else document.querySelector(".index .track a.words")?.focus();
  };
  const choose = ({ target }) => {
    if (target.files[0]) take(target.files[0]);
    target.value = "";
  };
  const byName = kind === "names" || now === "map";
  return html`
    <header id="top">
      <a class="brand" href="#/" aria-label="voisin, all tracks"><${Icon} name="mark" /><span>voisin</span></a>
      <form id="search-form" role="search" onSubmit=${submit}>
        <${Icon} name="search" />
        <input id="search" type="search" value=${text} onInput=${seek} autocomplete="off" spellcheck=${false}
          placeholder=${byName ? "Search artists, titles, albums" : "calm guitar, no voice"}
          aria-label="Search artists, titles and albums" enterkeyhint="search" />
        <kbd aria-hidden="true">/</kbd>
      </form>
      <button id="file" class="quiet" title="Open a file of yours (or drop it on the page)"
        aria-label="Open a file" onClick=${() => file.current.click()}>
        <${Icon} name="file" /><span class="long">A file…</span>
      </button>
      <input ref=${file} type="file" accept="audio/*,.opus,.flac,.ape,.wv" hidden
        aria-label="A file to analyse" onChange=${choose} />
    </header>`;
}

addEventListener("dragover", (event) => {
  if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
});
addEventListener("drop", (event) => {
  const file = event.dataTransfer?.files[0];
  if (!file) return;
  event.preventDefault();
  take(file);
});

// ---- sign-in
let refused = "";
function SignIn({ done }) {
  const [message, setMessage] = useState(refused),
    dialog = useRef(),
    secret = useRef(),
    stay = useRef();
  useLayoutEffect(() => {
    dialog.current.showModal();
    secret.current.focus();
  }, []);
  const send = async (event) => {
    event.preventDefault();
    try {
      await enter(secret.current.value.trim(), stay.current.checked);
      done();
    } catch (error) {
      setMessage(sentence(error.message));
      secret.current.select();
    }
  };
  return html`
    <dialog id="sign-in" aria-labelledby="sign-in-title" ref=${dialog}
      onCancel=${(event) => event.preventDefault()}>
      <form onSubmit=${send}>
        <h2 id="sign-in-title">Sign in</h2>
        <p>The server’s token: <code>voisin serve --show-token</code> prints it.</p>
        <input type="password" autocomplete="current-password" spellcheck=${false}
          aria-label="Token or password" ref=${secret} />
        <label class="inline"><input type="checkbox" checked ref=${stay} /><span>Stay signed in on this device</span></label>
        <p class="faint" role="status">${message}</p>
        <div class="part-acts"><button class="primary">Sign in</button></div>
      </form>
    </dialog>`;
}

/** A token in the address is exchanged for a cookie at once, and leaves the address. */
async function begin() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  try {
    if (token) {
      history.replaceState(null, "", location.pathname + location.search);
      place.set({ name: "listen", parts: [] });
      await enter(token, true);
    } else await loadRights();
  } catch (error) {
    refused = token && error.status ? sentence(error.message) : "";
    if (error.status) rights.set("none");
  }
  render(html`<${App} />`, document.getElementById("app"));
}
gone.follow((is) => is || loadRights().catch(() => {}));

listenToKeys(Object.values(PLACES).map(([address]) => address));
begin();

// For tests.
window.voisin = { player, map, request };
