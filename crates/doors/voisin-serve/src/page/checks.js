// Checks of the library: copies and failed files.
import { bytes, count, h, name, toast } from "./dom.js";
import { request } from "./api.js";
import * as player from "./player.js";
import { mark } from "./playing_marks.js";
import { row } from "./tracks.js";
import { empty, load, sentence } from "./states.js";

/** Items in a page. */
const PAGE = 50;

/** Each is a query; `shown` renders an item of its answer. */
export const CHECKS = {
  copies: {
    title: "Copies",
    about: "The same recording in several files, whatever their format. Nothing is deleted here.",
    path: "duplicates",
    shown: group,
    one: "recording",
    none: ["No copies", "Every recording is in one file only."],
  },
  failed: {
    title: "Failed",
    about: "Files that could not be analysed. Each is tried again once it has changed.",
    path: "failed",
    shown: failure,
    one: "file",
    none: ["No file has failed", "All of your music was analysed."],
  },
};

export function check(name, place, signal) {
  const { about, path, shown, one, none } = CHECKS[name];
  const found = h("div", {});
  place.replaceChildren(h("p", { class: "faint" }, about), found);
  load(
    found,
    signal,
    (waiting) => request(path, { query: { limit: PAGE }, signal, waiting }),
    (first) => {
      if (!first.total) return found.append(empty(...none));
      const list = h("ul", { class: "checks" }),
        more = h("button", { type: "button", onclick: next }, "Show more");
      let after = null;
      const add = (page) => {
        list.append(...page.items.map((item) => h("li", {}, shown(item))));
        after = page.next;
        more.hidden = after === null;
        mark();
      };
      async function next() {
        try {
          add(await request(path, { query: { limit: PAGE, after }, signal }));
        } catch (error) {
          if (error.name !== "AbortError") toast(sentence(error.message));
        }
      }
      found.append(
        h("p", { class: "result", role: "status" }, count(first.total, one)),
        list,
        h("div", { class: "part-acts" }, more),
      );
      add(first);
      return null;
    },
  );
}

/** A recording, or a song, with its files. */
function group({ keep, why, others, bytes_to_be_won: won }) {
  const all = [keep, ...others].map((track) => ({ track }));
  const quality = (file) =>
    file.exact
      ? "the same audio"
      : [
          file.codec,
          file.kilobits_per_second && Math.round(file.kilobits_per_second) + " kbit/s",
          bytes(file.bytes),
        ]
          .filter(Boolean)
          .join(" · ");
  return h(
    "article",
    {},
    h(
      "p",
      { class: "faint" },
      (won ? "Keep the first: " : "") + why + (won ? `; the others take ${bytes(won)}` : ""),
    ),
    h(
      "div",
      { class: "part-acts" },
      h(
        "button",
        { type: "button", class: "small", onclick: () => player.play(all) },
        "Play one after the other",
      ),
    ),
    h(
      "ul",
      { class: "rows small" },
      all.map(({ track }) => [
        row({ track }, { note: quality(track) }),
        name(track.path, "li", { class: "path faint" }),
      ]),
    ),
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
