// The review of labels that look wrong: listen, accept the suggestion, or keep the label. Decisions are stored in the library,
// and written into files only on request.
import { announce, count, h, icon, isolated, joined, name, percent, toast } from "./dom.js";
import { request, requestAll } from "./api.js";
import * as player from "./player.js";
import { artistOf, cover, titleOf } from "./cover.js";
import { mark } from "./playing_marks.js";
import { empty, framed, load, sentence } from "./states.js";

let room = null;

export function show(root, _route, signal) {
  const place = h("div", { class: "review" }),
    decided = h("section", { class: "decided" });
  root.replaceChildren(
    framed(
      "review",
      "Review",
      h(
        "p",
        { class: "faint" },
        "Labels that do not fit the sound, as predicted by models that were trained without the artist. Decisions are stored in the library; your files are not changed.",
      ),
    )(place, decided),
  );
  room = { place, decided, signal, suspects: [], at: 0, done: [] };
  signal.addEventListener("abort", () => {
    room = null;
  });
  loadSuspects();
}

function loadSuspects(all = false) {
  const { place, signal } = room;
  load(
    place,
    signal,
    async (waiting) => {
      const [suspects, labels] = await Promise.all([
        request("suspects", { query: { limit: 200, all: all || undefined }, signal, waiting }),
        requestAll("labels", ["by_hand"], { signal, waiting }),
      ]);
      return {
        suspects: suspects.items.filter(
          (item) => !labels.by_hand.some((label) => label.id === item.id),
        ),
        labels,
      };
    },
    ({ suspects, labels }) => {
      Object.assign(room, { suspects, labels, at: 0 });
      draw();
      written();
    },
  );
}

async function draw() {
  const { place, suspects, at, done, signal } = room,
    suspect = suspects[at];
  if (!suspect) {
    place.replaceChildren(
      suspects.length
        ? empty(
            "That was the last one",
            `${count(done.length, "decision")} in this round.`,
            h(
              "button",
              { type: "button", onclick: () => loadSuspects() },
              "Check again with these decisions",
            ),
          )
        : empty(
            "No label looks wrong",
            "Every label fits the sound, or there are too few labels to tell.",
            h(
              "button",
              { type: "button", onclick: () => loadSuspects(true) },
              "Show the least certain ones anyway",
            ),
          ),
    );
    return;
  }
  const track = await request("tracks/" + suspect.id, { signal }).catch(() => ({
    ...suspect,
    title: null,
    genres: [],
  }));
  if (signal.aborted || room.suspects[room.at] !== suspect) return;
  const title = titleOf(track),
    labels = suspect.labels.join(", ");
  place.replaceChildren(
    h(
      "article",
      { class: "suspect", "aria-label": title },
      h(
        "p",
        { class: "progress" },
        h("span", {}, `${at + 1} of ${suspects.length}`),
        h("i", { vars: { "--share": at / suspects.length } }),
      ),
      h(
        "div",
        { class: "card-head" },
        cover(track, true),
        h(
          "div",
          { class: "words" },
          h("h2", {}, name(title, "a", { href: "#/track/" + track.id, title })),
          name(artistOf(track), "p", { class: "by" }),
          h("p", { class: "faint" }, joined([track.album, track.year])),
          h(
            "div",
            { class: "acts" },
            h(
              "button",
              {
                type: "button",
                class: "primary",
                id: "play-suspect",
                "data-plays": track.id,
                onclick: () => player.playNow({ track }),
              },
              icon("play"),
              "Play",
            ),
          ),
        ),
      ),
      h(
        "div",
        { class: "versus" },
        h(
          "div",
          {},
          h("small", {}, "Label"),
          name(labels, "b"),
          h("span", { class: "meter", vars: { "--share": suspect.label_probability } }),
          h("span", { class: "faint" }, percent(suspect.label_probability) + " likely"),
        ),
        h(
          "div",
          { class: "suggested" },
          h("small", {}, "Prediction"),
          name(suspect.suggested, "b"),
          h("span", { class: "meter", vars: { "--share": suspect.suggested_probability } }),
          h("span", { class: "faint" }, percent(suspect.suggested_probability) + " likely"),
        ),
      ),
      h("p", { class: "faint" }, sentence(suspect.reason)),
      h(
        "div",
        { class: "decide" },
        h(
          "button",
          {
            type: "button",
            class: "primary",
            id: "accept",
            onclick: () => decide(suspect, suspect.suggested),
            title: "A",
          },
          `Change to ${isolated(suspect.suggested)}`,
          h("kbd", { "aria-hidden": "true" }, "A"),
        ),
        h(
          "button",
          {
            type: "button",
            id: "keep",
            onclick: () => decide(suspect, suspect.labels.join("; ")),
            title: "K",
          },
          `Keep ${isolated(labels)}`,
          h("kbd", { "aria-hidden": "true" }, "K"),
        ),
        h(
          "button",
          {
            type: "button",
            id: "skip",
            onclick: () => {
              room.at++;
              draw();
            },
            title: "S",
          },
          "Skip",
          h("kbd", { "aria-hidden": "true" }, "S"),
        ),
        h(
          "button",
          { type: "button", id: "undo-label", disabled: !done.length, onclick: undo, title: "Z" },
          icon("undo"),
          "Undo",
          h("kbd", { "aria-hidden": "true" }, "Z"),
        ),
      ),
    ),
  );
  mark();
}

async function decide(suspect, genre) {
  if (room.busy) return;
  room.busy = true;
  const ours = room;
  try {
    const answer = await request("labels", { body: { tracks: [suspect.id], genre }, once: true });
    ours.done.push({ suspect, genre, at: ours.at, changed: answer.changed });
    ours.at++;
    announce(`${genre}, stored in the library`);
    if (room === ours) {
      await draw();
      await written();
      document.getElementById("accept")?.focus({ preventScroll: true });
    }
  } catch (error) {
    if (error.name !== "AbortError")
      toast(sentence(error.message) + (error.next ? " " + sentence(error.next) : ""));
  } finally {
    ours.busy = false;
  }
}

async function undo() {
  const last = room.done.pop();
  if (!last) return;
  try {
    if (last.changed) await request("labels/undo", { method: "POST", once: true });
    room.at = last.at;
    announce("Undone");
    await draw();
    await written();
  } catch (error) {
    room?.done.push(last);
    toast(sentence(error.message));
  }
}

/** The decisions so far, and writing them into the files. */
async function written() {
  const { decided, signal } = room,
    labels = await requestAll("labels", ["by_hand"], { signal });
  if (signal.aborted) return;
  if (!labels.by_hand.length) return decided.replaceChildren();
  const report = h("div", {});
  decided.replaceChildren(
    h("h2", {}, "Decided by hand"),
    h(
      "p",
      { class: "faint" },
      `${count(labels.by_hand.length, "label")} in the library. `,
      h("code", {}, "voisin labels export"),
      " writes them to a table.",
    ),
    h(
      "details",
      {},
      h("summary", {}, "Show them"),
      h(
        "ul",
        { class: "hand" },
        labels.by_hand
          .slice(0, 200)
          .map((label) =>
            h(
              "li",
              {},
              name(label.title, "a", { href: "#/track/" + label.id }),
              name(label.genre, "span"),
            ),
          ),
      ),
    ),
    h(
      "div",
      { class: "part-acts" },
      h(
        "button",
        {
          type: "button",
          class: "small",
          id: "look",
          onclick: () =>
            look(
              report,
              labels.by_hand.map((label) => label.id),
            ),
        },
        "Write them into the files …",
      ),
    ),
    report,
  );
}

/** A dry run, and after a confirmation the writing. */
function look(report, tracks) {
  // A few files a request, as each is copied while it is written; all in one run, so that one undo reverts them.
  const all = async (dry_run) => {
    const items = [],
      many = dry_run ? 1000 : 10;
    let run = null;
    for (let i = 0; i < tracks.length; i += many) {
      const answer = await request("labels/write", {
        body: { tracks: tracks.slice(i, i + many), dry_run, run },
        once: !dry_run,
      });
      items.push(...answer.items);
      run = answer.run;
    }
    return { items, run };
  };
  load(
    report,
    room.signal,
    () => all(true),
    ({ items }) => {
      const would = items.filter((item) => item.outcome === "would_write"),
        others = items.length - would.length;
      report.append(
        h(
          "p",
          {},
          would.length
            ? `${count(would.length, "file")} would change${others ? `, ${others} stay as they are` : ""}. Their old tags are kept: voisin tag --undo restores them.`
            : "These files have these genres already, or cannot be written.",
        ),
        h(
          "ul",
          { class: "hand" },
          would
            .slice(0, 100)
            .map((item) =>
              h(
                "li",
                {},
                name(item.path.split("/").pop(), "span", { class: "path" }),
                h("span", {}, (item.before.join("; ") || "none") + " → " + item.after.join("; ")),
              ),
            ),
        ),
        would.length
          ? h(
              "div",
              { class: "part-acts" },
              h(
                "button",
                {
                  type: "button",
                  class: "primary",
                  id: "write",
                  onclick: () =>
                    load(
                      report,
                      room.signal,
                      () => all(false),
                      (done) => {
                        const wrote = done.items.filter(
                            (item) => item.outcome === "written",
                          ).length,
                          failed = done.items.filter((item) => item.outcome === "failed");
                        report.append(
                          h(
                            "p",
                            { role: "status" },
                            `${count(wrote, "file")} written. `,
                            wrote
                              ? h(
                                  "span",
                                  {},
                                  "To undo this: ",
                                  h("code", {}, "voisin tag --undo " + done.run),
                                )
                              : "",
                          ),
                          failed.length
                            ? h(
                                "ul",
                                { class: "hand" },
                                failed.map((item) =>
                                  h(
                                    "li",
                                    {},
                                    name(item.path.split("/").pop(), "span"),
                                    h("span", {}, item.reason),
                                  ),
                                ),
                              )
                            : "",
                        );
                      },
                    ),
                },
                `Write ${count(would.length, "file")}`,
              ),
              h("button", { type: "button", onclick: () => report.replaceChildren() }, "Cancel"),
            )
          : "",
      );
    },
  );
}

/** Keys of the review: A, K, S, Z. */
export function key(name) {
  const button = { a: "accept", k: "keep", s: "skip", z: "undo-label" }[name],
    element = button && document.getElementById(button);
  if (!element || element.disabled) return false;
  element.click();
  return true;
}
