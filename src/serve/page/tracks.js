// A track's row in a list, and long lists of which only the rows in sight exist.
import { html, useLayoutEffect, useRef, useState } from "./html.js";
import {
  Cover,
  Icon,
  IconButton,
  Name,
  artistOf,
  clock,
  isolated,
  joined,
  percent,
  titleOf,
} from "./parts.js";
import * as player from "./player.js";
import { announce, place, useShared } from "./state.js";

/** A button that starts a radio from these tracks. */
export const RadioButton = ({ tracks, class: more = "" }) => html`
  <button type="button" class=${"radio " + more} onClick=${() => player.playRadio(tracks)}>
    <${Icon} name="radio" />Radio
  </button>`;

/** Buttons that play all of these tracks, or a radio from them. */
export function PlayAll({ tracks, radio, children }) {
  const entries = () => tracks.map((track) => ({ track }));
  return html`
    <div class="part-acts">
      <button type="button" class="small" onClick=${() => player.play(entries())}>Play all</button>
      ${
        radio
          ? html`<${RadioButton} tracks=${tracks} class="small" />`
          : html`<button type="button" class="small" onClick=${() => player.enqueue(entries())}>
              Play all next
            </button>`
      }
      ${children}
    </div>`;
}

/** How near a track is, and what that means in this library, if known. */
const Share = ({ similarity, nearness, percentile }) => html`
  <span class="share" style=${{ "--share": Math.max(0, similarity) }}
    title=${
      nearness
        ? `Similarity ${similarity.toFixed(2)}: nearer than ${percent(percentile)} of your tracks have their nearest by another artist`
        : "Similarity"
    }>
    <i></i>
    <span><span class="sr-only">Similarity </span>${nearness ?? similarity.toFixed(2)}</span>
  </span>`;

/**
 * A row: cover with play, title and artist (a link to the card), notes and actions.
 * - `track`: with `similarity` where it is a neighbour
 * - `note`: a few words
 * - `all`: the tracks of its list: when it is played, those behind it follow
 */
export function Row({ track, note, all, as = "li", ...more }) {
  const { entry, isOn } = useShared(player.changes),
    { parts } = useShared(place),
    title = titleOf(track),
    isNow = entry?.track.id === track.id,
    isOpen = parts[0] === "track" && Number(parts[1]) === track.id;
  const press = () => {
    if (all)
      player.playFrom(
        { track },
        all.map((one) => ({ track: one })),
      );
    else player.playNow({ track });
  };
  return html`
    <${as} class=${`track${isNow ? " is-now" : ""}${isOpen ? " is-open" : ""}`} data-id=${track.id} ...${more}>
      <button type="button" class="play-cover" aria-label=${"Play " + isolated(title)} onClick=${press}>
        <${Cover} track=${track} /><${Icon} name=${isNow && isOn ? "pause" : "play"} />
      </button>
      <a class="words" href=${"#/track/" + track.id}>
        <${Name} as="span" class="title" title=${title} text=${title} />
        <span class="faint">${joined([artistOf(track), !note && track.genres?.[0]])}</span>
      </a>
      ${note && html`<${Name} as="span" class="note" text=${note} />`}
      ${
        track.similarity === undefined
          ? track.seconds > 0 && html`<span class="length">${clock(track.seconds)}</span>`
          : html`<${Share} ...${track} />`
      }
      <${IconButton} icon="radio" class="act radio" label=${`Radio from ${isolated(title)}`}
        onClick=${() => player.playRadio([track])} />
      <${IconButton} icon="after" class="act after" label=${`Play ${isolated(title)} next`}
        onClick=${() => player.enqueue([{ track }])} />
    </${as}>`;
}

/** Rows that exist beyond those in sight, and rows that are requested beyond these. */
const SPARE = 6,
  AHEAD = 24;

/** The pages of a list as they are needed: `need(n)` requests the rows before the n-th. */
function usePages(first, page) {
  const [pages, setPages] = useState(first),
    loading = useRef(false);
  const need = async (n) => {
    if (loading.current || pages.next === null || n + AHEAD <= pages.tracks.length) return;
    loading.current = true;
    try {
      // Far down, larger pages get there sooner.
      const more = await page(pages.next, n - pages.tracks.length > 400 ? 1000 : 200);
      setPages({ ...more, tracks: [...pages.tracks, ...more.tracks] });
    } catch {
      /* requested again by the next scroll */
    } finally {
      loading.current = false;
    }
  };
  return [pages, need];
}

const placeOf = (element) => element.closest(".track").getAttribute("aria-posinset") - 1;

/**
 * A list of any length in an element that scrolls: rows of one height, of which those in sight exist.
 * - `first`: its first page; `page(after, limit)` gives the others
 * - `top`: the scroll position when it was left; `left` is called with each later one
 */
export function LongList({ first, page, scroller, top, left }) {
  const [{ tracks, total }, need] = usePages(first, page),
    [view, setView] = useState({ top, height: 800 }),
    [focused, setFocused] = useState(null),
    body = useRef();
  useLayoutEffect(() => {
    const element = scroller.current;
    const look = () => {
      left(element.scrollTop);
      setView({ top: element.scrollTop, height: element.clientHeight });
    };
    element.scrollTop = top;
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);
  // A telephone's titles have two lines.
  const height = innerWidth < 720 ? 64 : 56,
    start = Math.max(0, Math.floor(view.top / height) - SPARE),
    end = Math.min(total, Math.ceil((view.top + view.height) / height) + SPARE);
  useLayoutEffect(() => {
    need(end);
  });
  const shown = Array.from({ length: Math.max(0, end - start) }, (_, i) => start + i);
  // The focused row stays, so that the keyboard does not lose its place.
  if (focused !== null && focused < start) shown.unshift(focused);
  if (focused !== null && focused >= end && focused < total) shown.push(focused);
  const go = (event) => {
    const to = focused + { ArrowDown: 1, ArrowUp: -1 }[event.key],
      what = event.target.closest("a") ? "a" : ".play-cover",
      next = body.current.querySelector(`[aria-posinset="${to + 1}"] ${what}`);
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    next.focus({ preventScroll: true });
    next.closest(".track").scrollIntoView({ block: "nearest" });
    announce(`${to + 1} of ${total}`);
  };
  return html`
    <div class="long" role="list" aria-label="Tracks" ref=${body} onKeyDown=${go}
      style=${{ height: total * height + "px" }}
      onfocusin=${({ target }) => setFocused(placeOf(target))} onfocusout=${() => setFocused(null)}>
      ${shown.map((i) => {
        const more = {
          key: i,
          role: "listitem",
          "aria-setsize": total,
          "aria-posinset": i + 1,
          style: { "--top": i * height + "px", height: height + "px" },
        };
        return tracks[i]
          ? html`<${Row} as="div" track=${tracks[i]} all=${tracks} ...${more} />`
          : html`<div class="track empty" ...${more}></div>`;
      })}
    </div>`;
}
