// Music that is no longer on the disk: which tracks of the page are, and taking them out of the library.
import { changes, count, h, isolated, name, toast } from "./dom.js";
import { ask, askAll } from "./api.js";
import { empty, load, sentence } from "./states.js";

let gone = new Set();
export const isMissing = (id) => gone.has(id);

/** Looks what is missing now; rows that are shown follow. */
export async function look() {
  const { items } = await askAll("missing", ["items"]);
  gone = new Set(items.map((item) => item.track?.id));
  changes.emit("change");
  return items;
}

/** Milliseconds after which it is looked once the page is there: the disk has other things to do first. */
const LATER = 3000;
export const lookLater = () => setTimeout(() => look().catch(() => {}), LATER);

/** All that is missing, by the folders that are not there. */
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
          "What is missing is not played and comes in no mix. What was given to it by hand, such as a like or a genre, is kept for when it is back.",
        ),
        ...[...groups].map(([folder, files]) => group(folder, files)),
      );
      return null;
    },
  );

  const group = (folder, files) => {
    const title = folder ? ["Out of reach: ", name(folder)] : "Gone from folders that are there";
    return h(
      "section",
      { class: "part missing" },
      h("h2", {}, title),
      h(
        "p",
        { class: "faint" },
        folder
          ? "This folder is not there. Where it is on another disk, connect or mount that, and its music is back by itself."
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
          { type: "button", class: "forget", onclick: () => takeOut(folder, files) },
          `Take ${count(files.length, "file")} out of the library …`,
        ),
      ),
    );
  };

  const takeOut = (folder, files) => {
    const dialog = document.getElementById("keys");
    const done = async () => {
      dialog.close();
      try {
        const { tracks } = await ask("missing", {
          method: "DELETE",
          query: { folder },
          signal,
          once: true,
        });
        toast(`${count(tracks, "track")} taken out of the library`);
        missing(place, signal);
      } catch (error) {
        if (error.name !== "AbortError") toast(sentence(error.message));
      }
    };
    dialog.replaceChildren(
      h("h2", { id: "keys-title" }, `Take ${count(files.length, "file")} out?`),
      h(
        "p",
        {},
        folder
          ? `All that lay in ${isolated(folder)} leaves the library. Where the folder comes back, its music is listened to anew.`
          : "Their tracks leave the library. No file is deleted: they are gone already.",
      ),
      h(
        "div",
        { class: "part-acts" },
        h("button", { type: "button", class: "primary", onclick: done }, "Take out"),
        h("button", { type: "button", onclick: () => dialog.close() }, "Keep"),
      ),
    );
    dialog.showModal();
  };
}
