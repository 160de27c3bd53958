// Lists that are kept: a question under a name, which is asked anew whenever its list is wanted.
import { count, h, icon, iconButton, isolated, name, span, toast } from "./dom.js";
import { ask } from "./api.js";
import * as player from "./player.js";
import { load, sentence } from "./states.js";

const KINDS = {
  similar: "what sounds like something",
  find: "words",
  list: "filters",
  path: "a path",
  mix: "a mix",
  artists: "artists near to one",
  albums: "albums near to one",
};

/**
 * The lists that are kept, and some that are ready to be.
 * `take`: puts tracks on the list of this page, under a name; `question`: what that list asks, for keeping it.
 */
export function panel(signal, take, question) {
  const place = h("div", {}),
    told = h("p", { class: "faint", role: "status", id: "saved-note" });
  let names = new Set();
  const show = () =>
    load(
      place,
      signal,
      (waiting) => ask("lists", { signal, waiting }),
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
                  "None yet. Begin with one of these, or keep what the list above is made of.",
                ),
            h(
              "div",
              { class: "part-acts for-change" },
              question()
                ? h(
                    "button",
                    { type: "button", id: "keep-question", onclick: own },
                    icon("save"),
                    "Keep the list above as a mix",
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
  /** Does something and says how it went. */
  const act = (work) => async () => {
    try {
      told.textContent = (await work()) ?? "";
    } catch (error) {
      if (error.name !== "AbortError")
        told.textContent = sentence(error.message) + " " + sentence(error.next ?? "");
    }
  };
  const now = async (list) => {
    const { items } = await ask("lists/" + encodeURIComponent(list.name), { signal });
    if (!items.length) throw new Error("Nothing fits this list now");
    return items;
  };
  const keep = (as, asked) =>
    act(async () => {
      await ask("lists/" + encodeURIComponent(as), {
        method: "PUT",
        body: asked,
        signal,
        once: true,
      });
      await show();
      return `“${isolated(as)}” is kept.`;
    })();
  // A list of filters that was opened is not written over by a mix of what it held.
  const own = () => {
    const { name: as, asked } = question();
    keep(names.has(as) ? as + " mix" : as, asked);
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
                    await ask(`lists/${encodeURIComponent(list.name)}/push`, {
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
          `Forget ${isolated(list.name)}`,
          act(async () => {
            await ask("lists/" + encodeURIComponent(list.name), {
              method: "DELETE",
              signal,
              once: true,
            });
            await show();
            toast(`“${isolated(list.name)}” is forgotten`, [
              "Take back",
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
      "Each asks its question anew when you want it: a mix is another one each time.",
    ),
    place,
    told,
  );
}
