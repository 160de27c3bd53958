// Files that could not be analysed, and why.
import { count, h, name, toast } from "./dom.js";
import { request } from "./api.js";
import { empty, load, sentence } from "./states.js";

/** Items in a page. */
const PAGE = 50;

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
    (waiting) => request("failed", { query: { limit: PAGE }, signal, waiting }),
    (first) => {
      if (!first.total)
        return found.append(empty("No file has failed", "All of your music was analysed."));
      const list = h("ul", { class: "checks" }),
        more = h("button", { type: "button", onclick: next }, "Show more");
      let after = null;
      const add = (page) => {
        list.append(...page.items.map((item) => h("li", {}, failure(item))));
        after = page.next;
        more.hidden = after === null;
      };
      async function next() {
        try {
          add(await request("failed", { query: { limit: PAGE, after }, signal }));
        } catch (error) {
          if (error.name !== "AbortError") toast(sentence(error.message));
        }
      }
      found.append(
        h("p", { class: "result", role: "status" }, count(first.total, "file")),
        list,
        h("div", { class: "part-acts" }, more),
      );
      add(first);
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
