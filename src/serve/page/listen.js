// Listen: all tracks or the search results on the left, the card of one on the right.
import { $, count, h, icon, keep } from "./dom.js";
import { request } from "./api.js";
import { filterMenu, markWrong, order, wanted } from "./filters.js";
import { mark } from "./playing_marks.js";
import { LongList, row } from "./tracks.js";
import { card, fileCard } from "./card.js";
import { empty, load, sentence } from "./states.js";

let parts = null,
  pending = null,
  shown = null;
/** The query and the scroll position with which this place was left. */
let left = null;
/** Rows of the first request: more than a screen shows, in few kilobytes. */
const PAGE = 48;

export function show(root, route, signal) {
  const scroller = h("div", { class: "scroller", "data-scrolls": "" });
  const head = h("p", { class: "result", role: "status" });
  const detail = h("section", { class: "detail", "aria-label": "Track", "data-scrolls": "" });
  const kind = h(
    "div",
    { class: "segments", role: "group", "aria-label": "What is searched" },
    ["names", "sound"].map((name) =>
      h(
        "button",
        {
          type: "button",
          "data-kind": name,
          onclick: () => {
            keep.set("search", name);
            setKind();
            seek();
          },
        },
        name === "names" ? "Names" : "Sound",
      ),
    ),
  );
  root.replaceChildren(
    h(
      "div",
      { class: "listen" },
      h("h1", { class: "sr-only" }, "Listen"),
      h(
        "section",
        { class: "index", "aria-label": "Tracks" },
        h(
          "div",
          { class: "index-head" },
          kind,
          head,
          filterMenu(() => seek(), signal),
        ),
        scroller,
      ),
      detail,
    ),
  );
  parts = { root, scroller, head, detail, kind, signal, listed: null };
  const mine = parts;
  signal.addEventListener("abort", () => {
    left = { listed: mine.listed, top: scroller.scrollTop };
  });
  shown = undefined;
  setKind();
  seek();
  update(route);
}

/** Another track of the same place: the list stays as it is. */
export function update(route) {
  const what =
    route.parts[0] === "track" ? Number(route.parts[1]) : route.parts[0] === "file" ? "file" : null;
  parts.root.firstChild.classList.toggle("has-detail", what !== null);
  if (what === shown && what !== "file") return;
  shown = what;
  parts.cardSignal?.abort();
  parts.cardSignal = new AbortController();
  parts.signal.addEventListener("abort", () => parts.cardSignal.abort());
  parts.detail.scrollTop = 0;
  if (what === null) parts.detail.replaceChildren(welcome());
  else if (what === "file") fileCard(parts.detail, parts.cardSignal.signal);
  else card(parts.detail, what, parts.cardSignal.signal);
  mark();
  if (what !== null && matchMedia("(max-width: 999px)").matches)
    $("main").focus({ preventScroll: true });
}

function setKind() {
  const kind = keep.get("search", "names");
  for (const button of parts.kind.children)
    button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
  $("search").placeholder =
    kind === "names" ? "Search artists, titles, albums" : "calm guitar, no voice";
}

function welcome() {
  return h(
    "div",
    { class: "empty-state welcome" },
    icon("mark"),
    h("h2", {}, "Choose a track"),
    h("p", {}, "Its card shows its genre, mood and sound, and similar tracks."),
    h(
      "p",
      { class: "faint" },
      "Or drop a file of yours anywhere on this page: it is compared with the library and not kept.",
    ),
  );
}

/** Lists the search results; called at every keystroke. */
export function seek() {
  if (!parts || parts.signal.aborted) return;
  pending?.abort();
  pending = new AbortController();
  parts.signal.addEventListener("abort", () => pending.abort());
  const { signal } = pending,
    words = $("search").value.trim();
  if (words && keep.get("search", "names") === "sound") return bySound(words, signal);
  const filters = wanted(),
    query = { query: words, ...filters, ...order() },
    isWhole = !words && !Object.keys(filters).length;
  parts.listed = JSON.stringify(query);
  const top = left?.listed === parts.listed ? left.top : 0;
  left = null;
  const page = (after, limit) => request("list", { query: { ...query, limit, after }, signal });
  load(
    parts.scroller,
    signal,
    (waiting) =>
      request("list", { query: { ...query, limit: PAGE }, signal, waiting }).catch((error) => {
        // The count of the last query would not fit the error message.
        if (error.name !== "AbortError") parts.head.textContent = "";
        markWrong(error.message);
        throw error;
      }),
    (found) => {
      markWrong("");
      parts.head.textContent = words
        ? `${count(found.total, "track")} for “${words}”`
        : count(found.total, "track");
      if (found.total) return new LongList(parts.scroller, page, signal).start(found, top);
      if (isWhole) emptyLibrary(parts.scroller, signal);
      else if (!words)
        parts.scroller.replaceChildren(
          empty("No matching tracks", "Remove some filters to find more."),
        );
      else
        parts.scroller.replaceChildren(
          empty(
            "No matching names",
            "Try fewer letters. To search by sound, choose Sound and type words such as calm, guitar or no voice.",
          ),
        );
      return null;
    },
  );
}

/** Tracks by words that describe their sound. */
function bySound(words, signal) {
  parts.head.textContent = "";
  const work = (waiting) =>
    request("find", { query: { query: words, limit: 100, ...wanted() }, signal, waiting }).catch(
      (error) => {
        if (error.status !== 404) throw error;
        return null;
      },
    );
  load(parts.scroller, signal, work, (found) => {
    if (!found)
      return parts.scroller.replaceChildren(
        empty(
          "Not all of these words are known",
          "A search by sound knows words such as calm, guitar or no voice. To search for a name, choose Names.",
        ),
      );
    parts.head.textContent =
      `Tracks that sound like “${words}”` +
      found.notes.map((note) => ` · ${note}`).join("");
    parts.scroller.replaceChildren(
      h(
        "ul",
        { class: "rows" },
        found.tracks.map((track) =>
          row({ track }, { all: () => found.tracks.map((track) => ({ track })) }),
        ),
      ),
    );
    return null;
  });
}

async function emptyLibrary(place, signal) {
  const scan = await request("scan", { signal }).catch(() => null);
  const start = async () => {
    try {
      await request("scan", { method: "POST", once: true });
      location.hash = "#/library";
    } catch (error) {
      message.textContent = sentence(error.message) + " " + sentence(error.next ?? "");
    }
  };
  const message = h("p", { class: "faint", role: "status" });
  place.replaceChildren(
    empty(
      "This library is empty",
      "Your music appears here as it is analysed, which takes some minutes for a thousand tracks.",
      scan?.can_start &&
        h(
          "button",
          { type: "button", class: "primary for-change", onclick: start },
          scan.state === "running" ? "Show progress" : "Analyse my music",
        ),
      message,
      h("p", { class: "faint" }, "Or in a terminal: ", h("code", {}, "voisin add FOLDER")),
    ),
  );
}
