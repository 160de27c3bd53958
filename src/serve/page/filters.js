// Filters and order of the track list, named as on the command line.
import { h, keep, keepHere } from "./dom.js";
import { request } from "./api.js";

/** Name, label, example, and whether several values may be given, separated by commas. */
const FIELDS = [
  ["genre", "Genre", "Metal, !Folk", true],
  ["artist", "Artist", "", true],
  ["year", "Year", "1990-1999"],
  ["bpm", "Tempo", "120-130"],
  ["key", "Key", "8A, Am", true],
  ["energy", "Energy", "60-100"],
  ["tag", "Sounds", "guitar", true],
  ["duration", "Length", "2:00-10:00"],
  ["folder", "Folder", "/music/new", true],
];
export const labelOf = (scale) => scale[0].toUpperCase() + scale.slice(1).replaceAll("-", " ");
/** Orders of a list. */
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

/** Filters last as long as the tab, as the search does: a reload keeps them, another visit begins without. */
let state = {
  sort: "artist",
  reverse: false,
  ...keep.get("order", {}),
  filters: keepHere.get("filters", {}),
};

/** The filters as fields of a query. */
export function wanted() {
  return Object.fromEntries(
    FIELDS.filter(([name]) => state.filters[name]).map(([name, , , several]) => {
      const text = state.filters[name];
      return [
        name,
        several
          ? text
              .split(",")
              .map((part) => part.trim())
              .filter(Boolean)
          : text,
      ];
    }),
  );
}
export const order = () => ({
  sort: state.sort === "artist" ? undefined : state.sort,
  reverse: state.reverse || undefined,
});

/** Marks the field that an error message begins with ("Bpm: expected …"), and no other. */
export function markWrong(message) {
  for (const input of document.querySelectorAll(".filter-fields input"))
    input.setAttribute(
      "aria-invalid",
      String(message.toLowerCase().startsWith(input.name.replace("_", " ") + ":")),
    );
}

/** A menu of all filters. `changed` is called when the list has to be requested again. */
export function filterMenu(changed, signal) {
  const summary = h("summary", {}, ""),
    genres = h("datalist", { id: "known-genres" });
  const showCount = () => {
    const count = Object.values(state.filters).filter(Boolean).length;
    summary.textContent = count ? `Filter · ${count}` : "Filter";
    summary.classList.toggle("is-set", count > 0);
    state.sort !== "artist" || state.reverse
      ? keep.set("order", { sort: state.sort, reverse: state.reverse })
      : keep.set("order", {});
  };
  const set = (change) => {
    state = { ...state, ...change };
    keepHere.set("filters", state.filters);
    showCount();
    changed();
  };
  const fields = FIELDS.map(([name, label, example]) =>
    h(
      "label",
      { class: "filter" },
      h("span", {}, label),
      h("input", {
        name,
        value: state.filters[name] ?? "",
        placeholder: example,
        autocomplete: "off",
        spellcheck: "false",
        list: name.endsWith("genre") ? "known-genres" : null,
        onchange: (event) =>
          set({ filters: { ...state.filters, [name]: event.target.value.trim() } }),
      }),
    ),
  );
  const sort = h(
    "select",
    { onchange: (event) => set({ sort: event.target.value }) },
    ORDERS.map(([name, label]) => h("option", { value: name }, label)),
  );
  sort.value = state.sort;
  const reverse = h("input", {
    type: "checkbox",
    checked: state.reverse,
    onchange: (event) => set({ reverse: event.target.checked }),
  });
  const clear = () => {
    for (const { lastChild } of fields) lastChild.value = "";
    sort.value = "artist";
    reverse.checked = false;
    set({ sort: "artist", reverse: false, filters: {} });
  };
  const box = h(
    "details",
    { class: "menu filters" },
    summary,
    h(
      "form",
      {
        class: "menu-box",
        onsubmit: (event) => {
          event.preventDefault();
          box.open = false;
        },
      },
      h("div", { class: "filter-fields" }, fields),
      genres,
      h(
        "div",
        { class: "part-acts" },
        h("label", { class: "inline" }, h("span", {}, "Order"), sort),
        h("label", { class: "inline" }, reverse, h("span", {}, "Backwards")),
      ),
      h(
        "div",
        { class: "part-acts" },
        h("button", { class: "primary small" }, "Done"),
        h("button", { type: "button", class: "small", onclick: clear }, "All tracks"),
      ),
    ),
  );
  box.addEventListener("toggle", async () => {
    if (!box.open || genres.children.length) return;
    try {
      genres.append(
        ...(await request("genres", { signal })).genres.map(({ genre }) =>
          h("option", { value: genre }),
        ),
      );
    } catch {
      /* they can be typed */
    }
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      box.open = false;
      summary.focus();
    }
  });
  document.addEventListener(
    "click",
    (event) => {
      if (box.open && !box.contains(event.target)) box.open = false;
    },
    { signal },
  );
  showCount();
  return box;
}
