// Tracks whose files are missing, and their removal from the library.
import { changes, count, h, isolated, name, toast } from "./dom.js";
import { request, requestAll } from "./api.js";
import { empty, load, sentence } from "./states.js";

let gone = new Set();
export const isMissing = (id) => gone.has(id);

/** Requests the missing files and updates the rows that are shown. */
export async function look() {
  const { items } = await requestAll("missing", ["items"]);
  gone = new Set(items.map((item) => item.track?.id));
  changes.emit("change");
  return items;
}

/** Milliseconds before the check, which reads the disk, so that it does not delay the page. */
const LATER = 3000;
export const lookLater = () => setTimeout(() => look().catch(() => {}), LATER);

/** All missing files, by absent folder. */
export function missing(place, signal) {
  load(
    place,
    signal,
    () => look(),
    (items) => {
      if (!items.length)
        return place.append(empty("Nothing is missing", "Every file is where it was."));
      const groups = Map.groupBy(items, (item) => item.absent_folder);
      place.append(
        h(
          "p",
          { class: "faint" },
          "Missing tracks are not played. Genres given by hand are kept for when they are back.",
        ),
        ...[...groups].map(([folder, files]) => group(folder, files)),
      );
      return null;
    },
  );

  const group = (folder, files) => {
    const title = folder ? ["Unavailable: ", name(folder)] : "Missing from existing folders";
    return h(
      "section",
      { class: "part missing" },
      h("h2", {}, title),
      h(
        "p",
        { class: "faint" },
        folder
          ? "This folder does not exist. If it is on another disk, connect or mount that, and its music is back by itself."
          : "They were deleted, moved or renamed. A scan finds those that were moved.",
      ),
      h(
        "ul",
        { class: "hand" },
        files
          .slice(0, 100)
          .map(({ path }) => h("li", {}, name(path, "span", { class: "path", title: path }))),
      ),
      files.length > 100 &&
        h("p", { class: "faint" }, `… and ${count(files.length - 100, "file")} more`),
      h(
        "div",
        { class: "part-acts for-change" },
        h(
          "button",
          { type: "button", class: "forget", onclick: () => confirmRemoval(folder, files) },
          `Remove ${count(files.length, "file")} from the library …`,
        ),
      ),
    );
  };

  const confirmRemoval = (folder, files) => {
    const dialog = document.getElementById("keys");
    const done = async () => {
      dialog.close();
      try {
        const { tracks } = await request("missing", {
          method: "DELETE",
          query: { folder },
          signal,
          once: true,
        });
        toast(`${count(tracks, "track")} removed from the library`);
        missing(place, signal);
      } catch (error) {
        if (error.name !== "AbortError") toast(sentence(error.message));
      }
    };
    dialog.replaceChildren(
      h("h2", { id: "keys-title" }, `Remove ${count(files.length, "file")}?`),
      h(
        "p",
        {},
        folder
          ? `All tracks of ${isolated(folder)} are removed from the library. If the folder comes back, its music is analysed again.`
          : "Their tracks are removed from the library. No file is deleted.",
      ),
      h(
        "div",
        { class: "part-acts" },
        h("button", { type: "button", class: "primary", onclick: done }, "Remove"),
        h("button", { type: "button", onclick: () => dialog.close() }, "Keep"),
      ),
    );
    dialog.showModal();
  };
}
