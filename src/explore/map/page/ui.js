// The controls of both maps: colours, legend, search, lasso, keys. Text is only ever set as text, so that no tag becomes markup.

/** Without bidirectional overrides: "safe\u202egnp.exe" would read as a picture. */
const plain = (text) => String(text).replace(/[\u202d\u202e]/g, "");
/** An element: element("button", { class: "quiet", onclick: f }, "text", child, …). */
export function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  made.append(...children.map((child) => (child instanceof Node ? child : plain(child))));
  return made;
}
const button = (label, onclick, more) =>
  element("button", { type: "button", onclick, ...more }, label);

/** Lower case without accents. */
const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
const KEYS = {
  ArrowLeft: (view) => view.walk(-1, 0),
  ArrowRight: (view) => view.walk(1, 0),
  ArrowUp: (view) => view.walk(0, -1),
  ArrowDown: (view) => view.walk(0, 1),
  "+": (view) => view.map.zoom(1.4),
  "=": (view) => view.map.zoom(1.4),
  "-": (view) => view.map.zoom(1 / 1.4),
  0: (view) => view.map.fit(),
  Enter: (view, i) => i >= 0 && view.on.open(i),
  p: (view, i) => i >= 0 && view.on.play?.(i),
  s: (view, i) => i >= 0 && view.toggle(i),
  l: (view) => view.map.setLasso(!view.map.lassoing),
  Escape(view) {
    if (view.map.lassoing) view.map.setLasso(false);
    else if (view.map.chosen.size) view.choose([]);
    else view.select(-1);
  },
};

/** A map with its controls, in an element. */
export class MapView {
  /**
   * - `x`, `y`, `title(i)`, `artist(i)`, `about(i)`, `text(i)`: of each track; `text` is what a search looks through
   * - `ways`: the colourings, each as PointMap's `colourBy`, with a `label` and a `unit`; those without any value are left out
   * - `keep`: stores the colouring that was chosen
   * - `side`: the element beside the map; `on.changed(view)` fills it, after each change of what is selected
   * - `on`: `changed(view)`, `open(i)`, `play(i)`, `playing()`, `say(text)`; `neighbours(i)` if known
   */
  constructor(root, { x, y, ways, keep, side, on, signal, neighbours = () => [], ...track }) {
    Object.assign(this, { ways, keep, side, on, track, n: x.length });
    const points = element("canvas", { class: "points", "aria-hidden": "true" }),
      tip = element("div", { class: "tip", hidden: "" }),
      label = `Map of ${this.n.toLocaleString("en")} tracks. Arrow keys go from track to track, plus and minus zoom, Enter opens, S selects, L draws a lasso.`,
      over = element("canvas", {
        class: "over",
        tabindex: 0,
        role: "application",
        "aria-label": label,
        onkeydown: (event) => this.key(event),
      });
    this.way = element("select", {
      "aria-label": "Colour by",
      onchange: () => this.recolour(this.way.value),
    });
    this.lasso = button("Lasso", () => this.map.setLasso(!this.map.lassoing), {
      class: "switch",
      "aria-pressed": "false",
      title: "Draw around tracks (or hold Shift and drag)",
    });
    this.legend = element("div", { class: "legend" });
    const head = element(
      "div",
      { class: "map-head" },
      element("label", { class: "inline" }, element("span", { class: "long" }, "Colour"), this.way),
      this.lasso,
      element("span", { class: "grow" }),
      button("−", () => this.map.zoom(1 / 1.6), { class: "quiet", "aria-label": "Zoom out" }),
      button("+", () => this.map.zoom(1.6), { class: "quiet", "aria-label": "Zoom in" }),
      button("All", () => this.map.fit(), { "aria-label": "Show all", title: "Show all (0)" }),
    );
    const stage = element("div", { class: "stage" }, points, over, tip);
    root.replaceChildren(element("div", { class: "map" }, head, stage, this.legend, side));
    this.map = new PointMap({
      ...{ points, over, tip, x, y, neighbours, signal },
      on: {
        tap: (i) => this.select(i),
        lassoed: (found, add) => this.choose(add ? [...this.map.chosen, ...found] : found),
        lassoing: (is) => this.lasso.setAttribute("aria-pressed", is),
        hover: (i) => this.described(i),
        playing: () => on.playing?.() ?? -1,
      },
    });
    prefersDark.addEventListener("change", () => this.recolour(this.way.value), { signal });
    this.offer();
    this.select(-1);
  }

  // ---- colours
  offer() {
    const rows = [...this.map.slot.keys()],
      has = ({ name, number }) => rows.some((i) => (name ?? number)(i) ?? false),
      usable = Object.keys(this.ways).filter((key) => has(this.ways[key])),
      kept = this.keep.get("colour", "genre");
    this.way.append(
      ...usable.map((key) => element("option", { value: key }, this.ways[key].label)),
    );
    this.way.value = usable.includes(kept) ? kept : usable[0];
    this.recolour(usable.length ? this.way.value : "genre");
  }
  recolour(key) {
    this.keep.set("colour", key);
    this.map.hidden.clear();
    this.map.colourBy(this.ways[key]);
    const lines = this.map.numbers
      ? [this.scale(this.ways[key])]
      : this.map.legend.map((line) => this.swatch(line));
    this.legend.replaceChildren(...lines);
  }
  scale({ unit }) {
    const spell = (v) => String(Math.round(v)).replace("-", "−") + unit,
      bar = element("i", {}),
      [low, high] = this.map.range;
    bar.style.background = `linear-gradient(90deg, ${palette().ramp.join()})`;
    return element("div", { class: "ramp" }, spell(low), bar, spell(high));
  }
  swatch({ slot, name, count }) {
    const dot = element("i", {}),
      made = button(
        dot,
        () => {
          const { hidden } = this.map;
          if (!hidden.delete(slot)) hidden.add(slot);
          made.setAttribute("aria-pressed", !hidden.has(slot));
          this.map.paint();
        },
        { class: "swatch", "aria-pressed": "true", title: "Show or hide" },
      );
    dot.style.setProperty("--tone", palette().colours[slot] ?? palette().grey);
    made.append(element("span", {}, name), element("small", {}, count.toLocaleString("en")));
    return made;
  }
  described(i) {
    const { title, artist, about } = this.track;
    return [
      element("b", { dir: "auto" }, title(i)),
      element("span", { dir: "auto" }, artist(i)),
      element("small", {}, about(i).filter(Boolean).join(" · ")),
    ];
  }

  // ---- selection
  /** Selects one track; `bring` moves it into sight. */
  select(i, bring = false) {
    const { map } = this;
    map.selected = i;
    if (bring && i >= 0) {
      const [x, y] = map.toScreen(i);
      if (x < 40 || x > map.width - 40 || y < 40 || y > map.height - 40)
        map.look(map.x[i], map.y[i], map.view.scale);
      this.on.say(plain([this.track.title(i), this.track.artist(i)].join(", ")));
    }
    this.changed();
  }
  /** Selects many, in their order. */
  choose(rows) {
    this.map.chosen = new Set(rows);
    this.on.say(`${this.map.chosen.size.toLocaleString("en")} selected`);
    this.changed();
  }
  toggle(i) {
    const { chosen } = this.map;
    this.choose(chosen.has(i) ? [...chosen].filter((j) => j !== i) : [...chosen, i]);
  }
  changed() {
    const { selected, chosen } = this.map;
    this.side.parentNode.classList.toggle("has-side", chosen.size > 0 || selected >= 0);
    this.on.changed(this);
    this.map.redraw();
  }
  /** Selects the tracks with all of these words; called at every keystroke. */
  seek(text) {
    const words = fold(text).split(/\s+/).filter(Boolean);
    this.texts ??= Array.from({ length: this.n }, (_, i) => fold(this.track.text(i)));
    const holds = (i) => this.map.visible(i) && words.every((word) => this.texts[i].includes(word));
    this.choose(words.length ? this.map.filter(holds) : []);
  }
  /** Brings what is selected into view. */
  showFound() {
    const rows = [...this.map.chosen],
      ends = (values) =>
        [Math.min, Math.max].map((f) => rows.reduce((at, i) => f(at, values[i]), values[rows[0]]));
    if (rows.length) this.map.fit([ends(this.map.x), ends(this.map.y)]);
  }

  // ---- keys
  /** To the nearest track in a direction; at first, to that nearest to the middle. */
  walk(dx, dy) {
    const { map } = this,
      from = map.selected,
      [x, y] = from >= 0 ? map.toScreen(from) : [map.width / 2, map.height / 2];
    const far = (i) => {
      const [px, py] = map.toScreen(i),
        along = (px - x) * dx + (py - y) * dy;
      if (from < 0) return Math.hypot(px - x, py - y);
      return along <= 0.5 ? Infinity : along + 2.5 * Math.abs((px - x) * dy - (py - y) * dx);
    };
    let best = { i: -1, at: Infinity };
    for (const i of map.order) {
      const at = i === from ? Infinity : far(i);
      if (at < best.at) best = { i, at };
    }
    if (best.i >= 0) this.select(best.i, true);
  }
  key(event) {
    const act = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    act(this, this.map.selected);
  }
}
