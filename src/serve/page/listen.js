// Listen: all tracks or the search results on the left, the card of one on the right.
import { html, useLayoutEffect, useRef, useState } from "./preact.js";
import { request } from "./api.js";
import { Card, FileCard } from "./card.js";
import { FilterMenu, filters, order } from "./filters.js";
import { Choice, Empty, Icon, count, loaded, spelled, useAnswer } from "./parts.js";
import { rights, search, useShared } from "./state.js";
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
    <p class="faint">
      Or drop a file of yours on this page: it is compared with the library and not kept.
    </p>
  </div>`;

function Index() {
  const { text, kind } = useShared(search),
    [head, setHead] = useState(""),
    scroller = useRef(),
    words = text.trim(),
    more = { words, setHead, scroller };
  return html`
    <section class="index" aria-label="Tracks">
      <div class="index-head">
        <${Choice} label="What is searched" now=${kind}
          choices=${[["names", "Names"], ["sound", "Sound"]]}
          choose=${(name) => search.set({ ...search.value, kind: name })} />
        <p class="result" role="status">${head}</p>
        <${FilterMenu} />
      </div>
      <div class="scroller" ref=${scroller}>
        ${
          words && kind === "sound"
            ? html`<${BySound} ...${more} />`
            : html`<${ByName} ...${more} />`
        }
      </div>
    </section>`;
}

/** The last answer to `work`, until the next one has come; `setHead` is told its title. */
function useTitled(work, inputs, setHead, titled) {
  const answer = useAnswer(work, inputs),
    { value, error } = answer;
  useLayoutEffect(() => {
    setHead(value ? titled(value) : "");
  }, [value, error]);
  return answer;
}

/** Tracks whose names have these words; asked at every keystroke. */
function ByName({ words, setHead, scroller }) {
  const query = { query: words, ...useShared(filters), ...useShared(order) },
    key = JSON.stringify(query),
    isWhole = !words && !Object.keys(filters.value).length;
  const page = (after, limit) => request("list", { query: { ...query, limit, after } });
  const work = async (more) => {
    const first = await request("list", { query: { ...query, limit: PAGE }, ...more });
    return { ...first, first, page, key };
  };
  const titled = ({ total }) => count(total, "track") + (words ? ` for “${words}”` : "");
  const answer = useTitled(work, [key], setHead, titled);
  return loaded(answer, (found) => {
    if (found.total) {
      const top = left.key === found.key ? left.top : 0;
      const leave = (at) => {
        left = { key: found.key, top: at };
      };
      return html`<${LongList} ...${found} scroller=${scroller} top=${top} left=${leave} />`;
    }
    if (isWhole) return html`<${EmptyLibrary} />`;
    return words
      ? html`<${Empty} title="No matching names">
          <p>Try fewer letters, or choose Sound for words such as calm, guitar or no voice.</p>
        <//>`
      : html`<${Empty} title="No matching tracks"><p>Remove some filters to find more.</p><//>`;
  });
}

/** Tracks by words that describe their sound. */
function BySound({ words, setHead }) {
  const chosen = useShared(filters);
  const work = (more) =>
    request("find", { query: { query: words, limit: 100, ...chosen }, ...more }).catch((error) => {
      if (error.status !== 404) throw error;
      return { unknown: error.message, tracks: [] };
    });
  const titled = ({ tracks, unknown, notes = [] }) => {
    if (!tracks.length) return "";
    const others = unknown.length ? [`not understood: ${unknown.join(", ")}`] : [];
    return [`Tracks that sound like “${words}”`, ...others, ...notes].join(" · ");
  };
  const answer = useTitled(work, [words, JSON.stringify(chosen)], setHead, titled);
  return loaded(answer, ({ tracks, unknown }) =>
    tracks.length
      ? html`<ul class="rows">
          ${tracks.map((track) => html`<${Row} key=${track.id} track=${track} all=${tracks} />`)}
        </ul>`
      : html`<${Unknown} reason=${String(unknown)} />`,
  );
}

/** No word is known: one that is spelled like it is suggested. */
function Unknown({ reason }) {
  const like = reason.match(/did you mean (.+?)( or |\?)/)?.[1];
  const take = () => search.set({ text: like, kind: "sound" });
  return html`
    <${Empty} title="None of these words is known">
      ${like && html`<p>Did you mean <button type="button" class="small" onClick=${take}>${like}</button>?</p>`}
      <p>A search by sound knows words such as calm, guitar or no voice. For a name, choose Names.</p>
    <//>`;
}

function EmptyLibrary() {
  const [message, setMessage] = useState(""),
    scan = useAnswer((more) => request("scan", more), []).value,
    may = useShared(rights) === "change";
  const start = async () => {
    try {
      if (scan.state !== "running") await request("scan", { method: "POST", once: true });
      location.hash = "#/library";
    } catch (error) {
      setMessage(spelled(error));
    }
  };
  return html`
    <${Empty} title="This library is empty">
      <p>Your music appears here as it is analysed: some minutes for a thousand tracks.</p>
      ${
        may &&
        scan?.can_start &&
        html`<button type="button" class="primary" onClick=${start}>
          ${scan.state === "running" ? "Show progress" : "Analyse my music"}
        </button>`
      }
      <p class="faint" role="status">${message}</p>
      <p class="faint">Or in a terminal: <code>voisin add FOLDER</code></p>
    <//>`;
}
