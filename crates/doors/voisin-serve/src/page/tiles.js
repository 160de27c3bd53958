// Covers in a grid: albums, artists and tracks, each with its name below. Of a long grid only the rows in sight exist.
import { announce, h, icon, isolated, name } from "./dom.js";
import { artistOf, cover, titleOf } from "./cover.js";

/**
 * A tile. `track`: of the cover; `href`: link of the name; `play`: called by a press on the cover.
 * - `title`, `below`: the text under it
 * - `round`: for artists
 */
export function tile({ track, href, play, title, below, round, element = "li", kind = "track" }) {
  return h(
    element,
    { class: "tile" + (round ? " is-round" : ""), "data-id": kind === "track" ? track.id : null },
    h(
      "button",
      {
        type: "button",
        class: "play-cover",
        "aria-label": `Play ${isolated(title)}`,
        onclick: play,
      },
      cover(track, true),
      icon("play"),
    ),
    h(
      "a",
      { class: "words", href },
      name(title, "span", { class: "title", title }),
      h("span", { class: "faint" }, below),
    ),
  );
}

export const trackTile = (track, play) =>
  tile({
    track,
    play,
    href: "#/track/" + track.id,
    title: titleOf(track),
    below: name(artistOf(track)),
  });

/** Least width of a tile, and the height of the text below its cover. */
const LEAST = 148,
  WORDS = 58,
  GAP = 16;

/** A grid of any length, of which the rows in sight exist. `make(item)` makes a tile. */
export class LongGrid {
  constructor(scroller, body, make, signal) {
    Object.assign(this, { scroller, body, make, items: [], tiles: new Map() });
    scroller.addEventListener("scroll", () => this.draw(), { passive: true, signal });
    const observer = new ResizeObserver(() => this.draw());
    observer.observe(scroller);
    signal.addEventListener("abort", () => observer.disconnect());
    body.addEventListener("keydown", (event) => this.key(event));
  }
  show(items) {
    this.items = items;
    for (const element of this.tiles.values()) element.remove();
    this.tiles.clear();
    this.draw();
  }
  draw() {
    const { body, scroller, items, tiles } = this,
      width = body.clientWidth;
    if (!width) return;
    const columns = Math.max(2, Math.floor((width + GAP) / (LEAST + GAP))),
      side = (width - GAP * (columns - 1)) / columns,
      height = side + WORDS + GAP;
    this.columns = columns;
    this.height = height;
    body.style.setProperty("height", Math.ceil(items.length / columns) * height + "px");
    // The grid's offset in the scroller: the content above may change its height.
    const above =
      body.getBoundingClientRect().top - scroller.getBoundingClientRect().top + scroller.scrollTop;
    const top = scroller.scrollTop - above,
      spare = 2;
    const first = columns * Math.max(0, Math.floor(top / height) - spare),
      last = Math.min(
        items.length,
        columns * (Math.ceil((top + scroller.clientHeight) / height) + spare),
      );
    for (const [i, element] of tiles)
      if ((i < first || i >= last) && !element.contains(document.activeElement)) {
        element.remove();
        tiles.delete(i);
      }
    for (let i = first; i < last; i++) {
      let element = tiles.get(i);
      if (!element) {
        element = this.make(items[i]);
        element.setAttribute("aria-setsize", items.length);
        element.setAttribute("aria-posinset", i + 1);
        tiles.set(i, element);
        const after = [...tiles.keys()].filter((j) => j > i).sort((a, b) => a - b)[0];
        body.insertBefore(element, after === undefined ? null : tiles.get(after));
      }
      const place = { x: (i % columns) * (side + GAP), y: Math.floor(i / columns) * height };
      element.style.setProperty("--x", place.x + "px");
      element.style.setProperty("--y", place.y + "px");
      element.style.setProperty("--side", side + "px");
    }
  }
  key(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns }[
        event.key
      ],
      element = event.target.closest(".tile");
    if (!by || !element) return;
    event.preventDefault();
    event.stopPropagation();
    const to = [...this.tiles].find(([, one]) => one === element)?.[0] + by;
    if (!(to >= 0 && to < this.items.length)) return;
    if (!this.tiles.has(to)) {
      this.scroller.scrollTop += Math.sign(by) * this.height;
      this.draw();
    }
    this.tiles.get(to)?.querySelector("a")?.focus();
    announce(`${to + 1} of ${this.items.length}`);
  }
}
