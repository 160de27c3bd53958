// Like and dislike: two switches for a track, at most one of them on. The server stores them, and mixes use them.
import { Emitter, announce, changes, iconButton, toast } from "./dom.js";
import { request } from "./api.js";
import { sentence } from "./states.js";

const updates = new Emitter();
const WAYS = [
  ["like", true, "Like: mixes play it more often"],
  ["dislike", false, "Dislike: mixes never play it"],
];

/** - `more`: further properties of the buttons */
export function liking(more, signal) {
  // `turn` discards responses to requests sent before the last change.
  let id = null,
    liked = null,
    turn = 0;
  const buttons = WAYS.map(([name, way, label]) =>
    iconButton(name, label, () => press(way), {
      ...more,
      class: "for-change " + (more?.class ?? ""),
      "aria-pressed": "false",
    }),
  );
  const show = () =>
    buttons.forEach((button, at) =>
      button.setAttribute("aria-pressed", String(liked === WAYS[at][1])),
    );
  const press = async (way) => {
    const changed = id,
      now = liked === way ? null : way;
    try {
      await request(`tracks/${changed}/liked`, { method: "PUT", body: { liked: now } });
      updates.emit("liked", { changed, now });
      changes.emit("liked", { id: changed, liked: now });
      announce({ true: "Liked", false: "Disliked", null: "Neither liked nor disliked" }[now]);
    } catch (error) {
      toast(sentence(error.message));
    }
  };
  updates.on(
    "liked",
    ({ changed, now }) => {
      if (changed === id) {
        turn++;
        liked = now;
        show();
      }
    },
    signal,
  );
  return {
    buttons,
    /** Shows whether a track is liked; null for one that is not in the library. */
    async show(track) {
      if (track === id) return;
      const sent = ++turn;
      id = track;
      liked = null;
      show();
      for (const button of buttons) button.disabled = id === null;
      if (id === null || document.body.dataset.rights !== "change") return;
      // A failed request is repeated the next time.
      const { liked: known } = await request(`tracks/${id}/liked`, { signal }).catch(() => {
        if (sent === turn) id = null;
        return { liked: null };
      });
      if (sent === turn) {
        liked = known;
        show();
      }
    },
  };
}
