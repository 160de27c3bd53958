// Listen: all tracks or the search results on the left, the card of one on the right.
import { html, useLayoutEffect, useRef } from "./html.js";
import { request } from "./api.js";
import { Card, FileCard } from "./card.js";
import { FilterMenu, filters, order } from "./filters.js";
import { Choice, Empty, Icon, count, loaded, useAnswer } from "./parts.js";
import { search, useShared } from "./state.js";
import { LongList, Row } from "./tracks.js";

/** Rows of the first request: more than a screen shows, in few kilobytes. */
const PAGE = 48;
/** The query and the scroll position with which this place was left. */
let left = { key: null, top: 0 };

export function Listen({ parts }) {
  const card =
    parts[0] === "track"
      ? html`<${Card} key=${parts[1]} id=${Number(parts[1])} />`
      : parts[0] === "file" && html`<${FileCard} />`;
  const detail = useRef();
  useLayoutEffect(() => {
    detail.current.scrollTop = 0;
    if (card && matchMedia("(max-width: 999px)").matches)
      document.getElementById("main").focus({ preventScroll: true });
  }, [parts.join("/")]);
  return html`
    <div class=${"listen" + (card ? " has-detail" : "")}>
      <h1 class="sr-only">Listen</h1>
      <${Index} />
      <section class="detail" aria-label="Track" ref=${detail}>${card || html`<${Welcome} />`}</section>
    </div>`;
}

const Welcome = () => html`
  <div class="empty-state welcome">
    <${Icon} name="mark" />
    <h2>Choose a track</h2>
    <p>Its card shows its genre, similar tracks, mood and sound.</p>
    <p class="faint">Or drop a file of yours: it is compared with the library and not kept.</p>
  </div>`;

/** Tracks whose names have these words. */
async function byName(query, more) {
  const page = (after, limit) => request("list", { query: { ...query, limit, after } });
  const first = await request("list", { query: { ...query, limit: PAGE }, ...more });
  const words = query.query ? ` for “${query.query}”` : "";
  return { ...first, first, page, title: count(first.total, "track") + words };
}
/** Tracks by words that describe their sound. */
async function bySound(query, more) {
  try {
    const { tracks, notes } = await request("find", { query, ...more });
    const title = [`Tracks that sound like “${query.query}”`, ...notes].join(" · ");
    return { tracks, title };
  } catch (error) {
    if (error.status !== 404) throw error;
    return { reason: error.message, title: "" };
  }
}

/** All tracks, or those that are searched for; asked at every keystroke. */
function Index() {
  const { text, kind } = useShared(search),
    chosen = useShared(filters),
    sorted = useShared(order),
    scroller = useRef(),
    words = text.trim(),
    sounds = words !== "" && kind === "sound",
    query = { query: words, ...chosen, ...(sounds ? { limit: 100 } : sorted) },
    key = kind + JSON.stringify(query);
  const work = async (more) => ({
    ...(await (sounds ? bySound : byName)(query, more)),
    listed: key,
  });
  const answer = useAnswer(work, [key]);
  return html`
    <section class="index" aria-label="Tracks">
      <div class="index-head">
        <${Choice} label="What is searched" now=${kind} choices=${{ names: "Names", sound: "Sound" }}
          choose=${(name) => search.set({ ...search.value, kind: name })} />
        <p class="result" role="status">${answer.value?.title}</p>
        <${FilterMenu} />
      </div>
      <div class="scroller" ref=${scroller}>
        ${loaded(answer, (found) => html`<${Found} ...${found} ...${{ words, chosen, scroller }} />`)}
      </div>
    </section>`;
}

function Found({ first, reason, tracks, words, chosen, scroller, listed, page }) {
  if (reason) return html`<${Unknown} reason=${reason} />`;
  if (first?.total) {
    const top = left.key === listed ? left.top : 0;
    const leave = (at) => {
      left = { key: listed, top: at };
    };
    const more = { first, page, scroller, top, left: leave };
    return html`<${LongList} key=${listed} ...${more} />`;
  }
  if (tracks.length)
    return html`<ul class="rows">
      ${tracks.map((track) => html`<${Row} key=${track.id} track=${track} all=${tracks} />`)}
    </ul>`;
  if (words)
    return html`<${Empty} title="No matching names">
      <p>Try fewer letters, or choose Sound for words such as calm, guitar or no voice.</p>
    <//>`;
  return Object.keys(chosen).length
    ? html`<${Empty} title="No matching tracks"><p>Remove some filters to find more.</p><//>`
    : html`<${EmptyLibrary} />`;
}

/** A word is not known: one that is spelled like it is suggested. */
function Unknown({ reason }) {
  const like = reason.match(/did you mean (.+?)( or |\?)/)?.[1];
  const take = () => search.set({ text: like, kind: "sound" });
  return html`
    <${Empty} title="Not all of these words are known">
      ${like && html`<p>Did you mean <button type="button" class="small" onClick=${take}>${like}</button>?</p>`}
      <p>A search by sound knows words such as calm, guitar or no voice. For a name, choose Names.</p>
    <//>`;
}

const EmptyLibrary = () => html`
  <${Empty} title="This library is empty">
    <p>Your music appears here as it is analysed: some minutes for a thousand tracks.</p>
    <p>The server scans its folder in the place <a href="#/library">Library</a>.</p>
    <p class="faint">Or in a terminal: <code>voisin add FOLDER</code></p>
  <//>`;
