// Saved lists: named queries that run again whenever their list is opened.
import { count, h, icon, iconButton, isolated, name, span, toast } from "./dom.js";
import { request } from "./api.js";
import * as player from "./player.js";
import { load, sentence } from "./states.js";

const KINDS = {
  similar: "similar tracks",
  find: "words",
  list: "filters",
  path: "a path",
  mix: "a mix",
  artists: "similar artists",
  albums: "similar albums",
};

/**
 * The saved lists, and templates of some.
 * `take`: opens tracks in the list editor, under a name; `question`: the editor's query, for saving it.
 */
export function panel(signal, take, question) {
  const place = h("div", {}),
    note = h("p", { class: "faint", role: "status", id: "saved-note" });
  let names = new Set();
  const show = () =>
    load(
      place,
      signal,
      (waiting) => request("lists", { signal, waiting }),
      ({ lists, templates }) => {
        names = new Set(lists.map((list) => list.name));
        const ready = templates.filter((template) => !names.has(template.name));
        place.replaceChildren(
          ...[
            lists.length
              ? h("ul", { class: "kept-lists" }, lists.map(row))
              : h(
                  "p",
                  { class: "faint" },
                  "None yet. Start with one of these, or save the list above as a mix.",
                ),
            h(
              "div",
              { class: "part-acts for-change" },
              question()
                ? h(
                    "button",
                    { type: "button", id: "keep-question", onclick: own },
                    icon("save"),
                    "Save the list above as a mix",
                  )
                : null,
              ready.map((template) =>
                h(
                  "button",
                  {
                    type: "button",
                    class: "ready",
                    title: sentence(template.about),
                    "data-template": template.name,
                    onclick: () => keep(template.name, template.question),
                  },
                  icon("add"),
                  template.name,
                ),
              ),
            ),
          ],
        );
      },
    );
  /** Runs `work` and shows its outcome. */
  const act = (work) => async () => {
    try {
      note.textContent = (await work()) ?? "";
    } catch (error) {
      if (error.name !== "AbortError")
        note.textContent = sentence(error.message) + " " + sentence(error.next ?? "");
    }
  };
  const now = async (list) => {
    const { items } = await request("lists/" + encodeURIComponent(list.name), { signal });
    if (!items.length) throw new Error("No track fits this list now");
    return items;
  };
  const keep = (as, body) =>
    act(async () => {
      await request("lists/" + encodeURIComponent(as), {
        method: "PUT",
        body,
        signal,
        once: true,
      });
      await show();
      return `“${isolated(as)}” is saved.`;
    })();
  // A mix of the tracks of an opened list does not overwrite that list.
  const own = () => {
    const { name: as, body } = question();
    keep(names.has(as) ? as + " mix" : as, body);
  };
  const row = (list) =>
    h(
      "li",
      { "data-list": list.name },
      iconButton(
        "play",
        `Play ${isolated(list.name)}`,
        act(async () => {
          const items = await now(list);
          player.play(items.map((track) => ({ track })));
          return `${count(items.length, "track")}, ${span(items.reduce((sum, track) => sum + track.seconds, 0))}.`;
        }),
        { class: "act" },
      ),
      h(
        "span",
        { class: "words" },
        name(list.name, "span", { class: "title", title: list.name }),
        h(
          "span",
          { class: "faint" },
          KINDS[list.kind] + (list.to.length ? " · pushed to " + list.to.join(", ") : ""),
        ),
      ),
      h(
        "span",
        { class: "kept-acts" },
        h(
          "button",
          {
            type: "button",
            onclick: act(async () => {
              take(list.name, await now(list));
              await show();
            }),
          },
          "Open",
        ),
        iconButton(
          "radio",
          `Radio from ${isolated(list.name)}`,
          act(async () => {
            await player.playRadio(await now(list));
          }),
        ),
        list.to.length
          ? h(
              "button",
              {
                type: "button",
                class: "for-change",
                onclick: act(async () =>
                  (
                    await request(`lists/${encodeURIComponent(list.name)}/push`, {
                      body: {},
                      signal,
                      once: true,
                    })
                  ).said.join(" "),
                ),
              },
              "Push",
            )
          : null,
        iconButton(
          "close",
          `Delete ${isolated(list.name)}`,
          act(async () => {
            await request("lists/" + encodeURIComponent(list.name), {
              method: "DELETE",
              signal,
              once: true,
            });
            await show();
            toast(`“${isolated(list.name)}” is deleted`, [
              "Undo",
              () => keep(list.name, list.question),
            ]);
          }),
          { class: "act for-change" },
        ),
      ),
    );
  show();
  return h(
    "section",
    { class: "builder saved-lists", "aria-label": "Saved lists" },
    h("h2", {}, "Saved lists"),
    h(
      "p",
      { class: "faint" },
      "Each runs its query again when you open it, so that a mix is different each time.",
    ),
    place,
    note,
  );
}
