// The review of labels that look wrong: listen, accept the suggestion, or keep the label. Decisions are stored in the library.
import { announce, count, h, icon, isolated, joined, name, percent, toast } from "./dom.js";
import { request } from "./api.js";
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
        request("suspects", { query: { all: all || undefined }, signal, waiting }),
        request("labels", { signal, waiting }),
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
  const track = await request("show", { query: { track: "id:" + suspect.id }, signal }).catch(
    () => ({
      ...suspect,
      title: null,
      genres: [],
    }),
  );
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
    const answer = await request("labels", {
      method: "PUT",
      body: { tracks: [suspect.id], genre },
      once: true,
    });
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
    if (last.changed)
      await request("labels", { method: "PUT", body: { tracks: [last.suspect.id] }, once: true });
    room.at = last.at;
    announce("Undone");
    await draw();
    await written();
  } catch (error) {
    room?.done.push(last);
    toast(sentence(error.message));
  }
}

/** The decisions so far. */
async function written() {
  const { decided, signal } = room,
    labels = await request("labels", { signal });
  if (signal.aborted) return;
  if (!labels.by_hand.length) return decided.replaceChildren();
  decided.replaceChildren(
    h("h2", {}, "Decided by hand"),
    h("p", { class: "faint" }, `${count(labels.by_hand.length, "label")} in the library.`),
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
