// Filters and order of the track list: lists to pick from, with the values of the command line.
import { html, useEffect, useRef } from "./html.js";
import { request } from "./api.js";
import { capital, useAnswer } from "./parts.js";
import { Shared, keep, keepHere, useShared } from "./state.js";

const named = (names, name) => Object.fromEntries(names.map((one) => [one, name(one)]));
const DECADES = [2020, 2010, 2000, 1990, 1980, 1970, 1960, 1950].map(
    (year) => `${year}-${year + 9}`,
  ),
  KEYS = "C Db D Eb E F Gb G Ab A Bb B".split(" ").flatMap((tone) => [tone, tone + "m"]),
  SOUNDS = "calm happy sad party beautiful mellow guitar piano electronic instrumental".split(" "),
  ORDERS = "artist album title genre year added time bpm key loudness energy".split(" ");
/** Of each filter the values and their words; genres are those of the library. */
const FIELDS = {
  genre: {},
  year: { ...named(DECADES, (years) => years.slice(0, 4) + "s"), "-1949": "before 1950" },
  bpm: { "-89": "below 90", "90-119": "90 to 119", "120-139": "120 to 139", "140-": "from 140" },
  key: named(KEYS, (key) => key.replace("b", "♭").replace("m", " minor")),
  energy: { "-33": "low", "34-66": "medium", "67-": "high" },
  tag: named(SOUNDS, (sound) => sound),
  duration: {
    "-2:59": "below 3 minutes",
    "3:00-5:59": "3 to 6 minutes",
    "6:00-": "from 6 minutes",
  },
};
const labelOf = (name) =>
  ({ bpm: "Tempo", tag: "Sounds", duration: "Length", time: "Length" })[name] ?? capital(name);

/** The filters as fields of a query; they last as long as the tab, as the search does. */
export const filters = new Shared(keepHere.get("filters", {}));
filters.follow((now) => keepHere.set("filters", now));
/** The order as fields of a query. */
export const order = new Shared(keep.get("order", {}));
order.follow((now) => keep.set("order", now));

const Select = ({ name, label, choices, value, choose }) => html`
  <label class="filter">
    <span>${label}</span>
    <select name=${name} value=${value ?? ""} onChange=${({ target }) => choose(target.value)}>
      ${Object.entries(choices).map(([is, words]) => html`<option value=${is}>${words}</option>`)}
    </select>
  </label>`;

/** Closes the menu at a press elsewhere; returns what closes it at Escape. */
function useClosing(box) {
  useEffect(() => {
    const close = ({ target }) => {
      if (!box.current.contains(target)) box.current.open = false;
    };
    document.addEventListener("click", close);
    return () => document.removeEventListener("click", close);
  }, []);
  return (event) => {
    if (event.key !== "Escape" || !box.current.open) return;
    event.stopPropagation();
    box.current.open = false;
    box.current.querySelector("summary").focus();
  };
}

/** A menu of all filters. */
export function FilterMenu() {
  const chosen = useShared(filters),
    { sort = "artist", reverse = false } = useShared(order),
    genres = useAnswer((more) => request("genres", more), []).value?.genres ?? [],
    box = useRef(),
    press = useClosing(box);
  const set = (name, value) => {
    const { [name]: _, ...others } = filters.value;
    filters.set(value ? { ...others, [name]: value } : others);
  };
  const all = () => {
    filters.set({});
    order.set({});
  };
  const n = Object.keys(chosen).length,
    known = named(
      genres.map(({ genre }) => genre),
      (genre) => genre,
    );
  const field = ([name, choices]) => html`
    <${Select} key=${name} name=${name} label=${labelOf(name)} value=${chosen[name]}
      choices=${{ "": "any", ...(name === "genre" ? known : choices) }}
      choose=${(value) => set(name, value)} />`;
  return html`
    <details class="menu filters" ref=${box} onKeyDown=${press}>
      <summary class=${n ? "is-set" : ""}>${n ? `Filter · ${n}` : "Filter"}</summary>
      <div class="menu-box">
        <div class="filter-fields">
          ${Object.entries(FIELDS).map(field)}
          <${Select} name="sort" label="Order" value=${sort} choices=${named(ORDERS, labelOf)}
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
