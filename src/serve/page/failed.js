// Files that could not be analysed, and why.
import { count, h, name } from "./dom.js";
import { request } from "./api.js";
import { empty, load, sentence } from "./states.js";

export function failed(place, signal) {
  const found = h("div", {});
  place.replaceChildren(
    h(
      "p",
      { class: "faint" },
      "Files that could not be analysed. Each is tried again once it has changed.",
    ),
    found,
  );
  load(
    found,
    signal,
    (waiting) => request("failed", { signal, waiting }),
    ({ items }) => {
      if (!items.length)
        return found.append(empty("No file has failed", "All of your music was analysed."));
      found.append(
        h("p", { class: "result", role: "status" }, count(items.length, "file")),
        h(
          "ul",
          { class: "checks" },
          items.map((item) => h("li", {}, failure(item))),
        ),
      );
      return null;
    },
  );
}

function failure({ path, reason, attempts }) {
  return [
    name(path, "p", { class: "path" }),
    h(
      "p",
      { class: "faint" },
      sentence(reason) + (attempts > 1 ? ` Tried ${attempts} times.` : ""),
    ),
  ];
}
