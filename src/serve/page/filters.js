// Filters and order of the track list: lists to pick from, with the values of the command line.
import { html, useEffect, useRef } from "./preact.js";
import { request } from "./api.js";
import { useAnswer } from "./parts.js";
import { Shared, keep, keepHere, useShared } from "./state.js";

const DECADES = [2020, 2010, 2000, 1990, 1980, 1970, 1960, 1950].map((year) => [
  `${year}-${year + 9}`,
  `${year}s`,
]);
const TONES = ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"],
  KEYS = TONES.flatMap((tone) => [tone, tone + "m"]);
const SOUNDS = "calm happy sad party beautiful mellow guitar piano electronic instrumental".split(
  " ",
);
const same = (names) => names.map((name) => [name, name]);
/** Name, label, and the choices: a value and its words. Genres are those of the library. */
const FIELDS = [
  ["genre", "Genre", []],
  ["year", "Year", [...DECADES, ["-1949", "before 1950"]]],
  [
    "bpm",
    "Tempo",
    [
      ["-89", "slow, below 90"],
      ["90-119", "90 to 119"],
      ["120-139", "120 to 139"],
      ["140-", "fast, from 140"],
    ],
  ],
  ["key", "Key", KEYS.map((key) => [key, key.replace("b", "♭").replace("m", " minor")])],
  [
    "energy",
    "Energy",
    [
      ["-33", "low"],
      ["34-66", "medium"],
      ["67-", "high"],
    ],
  ],
  ["tag", "Sounds", same(SOUNDS)],
  [
    "duration",
    "Length",
    [
      ["-2:59", "below 3 minutes"],
      ["3:00-5:59", "3 to 6 minutes"],
      ["6:00-", "from 6 minutes"],
    ],
  ],
];
const ORDERS = [
  ["artist", "Artist"],
  ["album", "Album"],
  ["title", "Title"],
  ["genre", "Genre"],
  ["year", "Year"],
  ["added", "Added"],
  ["time", "Length"],
  ["bpm", "Tempo"],
  ["key", "Key"],
  ["loudness", "Loudness"],
  ["energy", "Energy"],
];

/** The filters as fields of a query; they last as long as the tab, as the search does. */
export const filters = new Shared(keepHere.get("filters", {}));
filters.follow((now) => keepHere.set("filters", now));
/** The order as fields of a query. */
export const order = new Shared(keep.get("order", {}));
order.follow((now) => keep.set("order", now));

const Select = ({ name, label, choices, value, choose }) => html`
  <label class="filter">
    <span>${label}</span>
    <select name=${name} value=${value ?? ""} onChange=${(event) => choose(event.target.value)}>
      ${choices.map(([is, words]) => html`<option value=${is}>${words}</option>`)}
    </select>
  </label>`;

/** Closes an open menu at Escape and at a press elsewhere. */
function useClosing(box) {
  useEffect(() => {
    const close = (event) => {
      const { current } = box;
      if (!current.open || (event.type === "click" && current.contains(event.target))) return;
      if (event.key && event.key !== "Escape") return;
      event.stopPropagation();
      current.open = false;
      if (event.key) current.querySelector("summary").focus();
    };
    document.addEventListener("click", close);
    document.addEventListener("keydown", close, true);
    return () => {
      document.removeEventListener("click", close);
      document.removeEventListener("keydown", close, true);
    };
  }, []);
}

/** A menu of all filters. */
export function FilterMenu() {
  const chosen = useShared(filters),
    { sort = "artist", reverse = false } = useShared(order),
    genres = useAnswer((more) => request("genres", more), []).value?.genres ?? [],
    box = useRef();
  useClosing(box);
  const set = (name, value) => {
    const { [name]: _, ...others } = filters.value;
    filters.set(value ? { ...others, [name]: value } : others);
  };
  const all = () => {
    filters.set({});
    order.set({});
  };
  const n = Object.keys(chosen).length;
  const choices = (name, known) => [
    ["", "any"],
    ...(name === "genre" ? same(genres.map(({ genre }) => genre)) : known),
  ];
  return html`
    <details class="menu filters" ref=${box}>
      <summary class=${n ? "is-set" : ""}>${n ? `Filter · ${n}` : "Filter"}</summary>
      <div class="menu-box">
        <div class="filter-fields">
          ${FIELDS.map(
            ([name, label, known]) => html`
              <${Select} key=${name} name=${name} label=${label} value=${chosen[name]}
                choices=${choices(name, known)} choose=${(value) => set(name, value)} />`,
          )}
          <${Select} name="sort" label="Order" value=${sort} choices=${ORDERS}
            choose=${(value) => order.set({ ...order.value, sort: value })} />
        </div>
        <div class="part-acts">
          <label class="inline">
            <input type="checkbox" checked=${reverse}
              onChange=${({ target }) => order.set({ ...order.value, reverse: target.checked || undefined })} />
            <span>Backwards</span>
          </label>
          <button type="button" class="small" onClick=${all}>All tracks</button>
        </div>
      </div>
    </details>`;
}
