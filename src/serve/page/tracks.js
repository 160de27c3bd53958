// A track's row in a list, and long lists of which only the rows in sight exist.
import { announce, clock, h, iconButton, isolated, joined, name, percent } from "./dom.js";
import { artistOf, titleOf } from "./cover.js";
import * as player from "./player.js";
import { mark, playCover } from "./playing_marks.js";

/**
 * A row: cover with play, title and artist (a link to the card), notes and actions.
 * - `entry`: { track }
 * - `share`: a similarity, shown as a bar
 * - `nearness`, `percentile`: its meaning in this library, if known
 * - `note`: a few words
 * - `all`: returns the entries of its list: when it is played, those behind it follow
 */
export function row(
  entry,
  { share, nearness, percentile, note, element = "li", genre = true, all } = {},
) {
  const { track } = entry,
    title = titleOf(track);
  return h(
    element,
    { class: "track", "data-id": track.id },
    playCover(entry, all),
    h(
      "a",
      { class: "words", href: "#/track/" + track.id },
      name(title, "span", { class: "title", title }),
      h(
        "span",
        { class: "faint" },
        joined([artistOf(track), !note && genre ? track.genres?.[0] : null]),
      ),
    ),
    note ? name(note, "span", { class: "note" }) : null,
    share !== undefined
      ? h(
          "span",
          {
            class: "share",
            vars: { "--share": Math.max(0, share) },
            title: nearness
              ? `Similarity ${share.toFixed(2)}: nearer than ${percent(percentile)} of your tracks have their nearest by another artist`
              : "Similarity",
          },
          h("i", {}),
          h(
            "span",
            {},
            h("span", { class: "sr-only" }, "Similarity "),
            nearness ?? share.toFixed(2),
          ),
        )
      : null,
    track.seconds && share === undefined
      ? h("span", { class: "length" }, clock(track.seconds))
      : null,
    iconButton("radio", `Radio from ${isolated(title)}`, () => player.playRadio([track]), {
      class: "act radio",
    }),
    iconButton("after", `Play ${isolated(title)} next`, () => player.enqueue([entry]), {
      class: "act after",
    }),
  );
}

/** Rows that are requested beyond those in sight. */
const AHEAD = 24;

/**
 * A list of any length: rows of one height, of which those in sight exist. Pages are requested as they come near.
 * `page(after, limit)` gives { tracks, next, total }.
 */
export class LongList {
  constructor(scroller, page, signal) {
    Object.assign(this, {
      scroller,
      page,
      signal,
      tracks: [],
      total: 0,
      next: null,
      loading: false,
      rows: new Map(),
    });
    this.body = h("div", { class: "long", role: "list", "aria-label": "Tracks" });
    scroller.replaceChildren(this.body);
    scroller.addEventListener("scroll", () => this.draw(), { passive: true, signal });
    const observer = new ResizeObserver(() => this.draw());
    observer.observe(scroller);
    signal.addEventListener("abort", () => observer.disconnect());
    this.body.addEventListener("keydown", (event) => this.key(event));
  }
  height() {
    return this.scroller.clientWidth < 480 ? 60 : 56;
  }
  /** - `top`: scroll position when it was left */
  start(first, top = 0) {
    this.take(first);
    this.draw();
    this.scroller.scrollTop = top;
    this.draw();
  }
  take(page) {
    this.tracks.push(...page.tracks);
    this.total = page.total;
    this.next = page.next;
  }
  async more() {
    if (this.loading || this.next === null) return;
    this.loading = true;
    try {
      this.take(await this.page(this.next, this.wanted > 400 ? 1000 : 200));
      this.loading = false;
      this.draw();
    } catch {
      this.loading = false;
    }
  }
  draw() {
    const height = this.height(),
      view = this.scroller.clientHeight;
    const top = Math.max(0, this.scroller.scrollTop - this.body.offsetTop),
      spare = 6;
    const first = Math.max(0, Math.floor(top / height) - spare),
      last = Math.min(this.total, Math.ceil((top + view) / height) + spare);
    this.body.style.setProperty("height", this.total * height + "px");
    for (const [i, element] of this.rows)
      if (i < first || i >= last || (element.dataset.id === "" && this.tracks[i])) {
        // The focused row stays, so that the keyboard does not lose its place.
        if (!element.contains(document.activeElement)) {
          element.remove();
          this.rows.delete(i);
        }
      }
    for (let i = first; i < last; i++) {
      let element = this.rows.get(i);
      if (!element) {
        const track = this.tracks[i];
        element = track
          ? row({ track }, { element: "div", all: () => this.tracks.map((track) => ({ track })) })
          : h("div", { class: "track empty", "data-id": "" });
        element.setAttribute("role", "listitem");
        element.setAttribute("aria-setsize", this.total);
        element.setAttribute("aria-posinset", i + 1);
        this.rows.set(i, element);
        // In the order of the list, for screen readers.
        const after = [...this.rows.keys()].filter((j) => j > i).sort((a, b) => a - b)[0];
        this.body.insertBefore(element, after === undefined ? null : this.rows.get(after));
      }
      element.style.setProperty("--top", i * height + "px");
    }
    mark();
    // Far down, larger pages get there sooner.
    this.wanted = last - this.tracks.length;
    if (this.wanted + AHEAD > 0) this.more();
  }
  key(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key],
      element = event.target.closest(".track");
    if (!by || !element) return;
    event.preventDefault();
    event.stopPropagation();
    const now = [...this.rows].find(([, e]) => e === element)?.[0],
      to = now + by,
      height = this.height();
    if (to < 0 || to >= this.tracks.length) return;
    const y = to * height + this.body.offsetTop;
    if (y < this.scroller.scrollTop) this.scroller.scrollTop = y;
    if (y + height > this.scroller.scrollTop + this.scroller.clientHeight)
      this.scroller.scrollTop = y + height - this.scroller.clientHeight;
    this.draw();
    this.rows
      .get(to)
      ?.querySelector(event.target.closest("a") ? "a" : ".play-cover")
      ?.focus();
    announce(`${to + 1} of ${this.total}`);
  }
}
