// What is liked: two switches for a track, of which at most one is pressed. The server keeps it, and mixes count it.
import { changes, Emitter, iconButton, say, toast } from "./dom.js";
import { ask } from "./api.js";
import { sentence } from "./states.js";

const told = new Emitter();
const WAYS = [
  ["like", true, "Like it: it comes sooner in mixes"],
  ["dislike", false, "Dislike it: it comes in no mix"],
];

/** - `more`: what the buttons have besides */
export function liking(more, signal) {
  // An answer that was asked for before the last change is no longer true.
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
    const of = id,
      now = liked === way ? null : way;
    try {
      await ask(`tracks/${of}/liked`, { method: "PUT", body: { liked: now } });
      told.emit("liked", { of, now });
      changes.emit("liked", { id: of, liked: now });
      say({ true: "Liked", false: "Disliked", null: "Neither liked nor disliked" }[now]);
    } catch (error) {
      toast(sentence(error.message));
    }
  };
  told.on(
    "liked",
    ({ of, now }) => {
      if (of === id) {
        turn++;
        liked = now;
        show();
      }
    },
    signal,
  );
  return {
    buttons,
    /** Shows what is thought of a track; of one that is not in the library nothing can be. */
    async of(track) {
      if (track === id) return;
      const asked = ++turn;
      id = track;
      liked = null;
      show();
      for (const button of buttons) button.disabled = id === null;
      if (id === null || document.body.dataset.rights !== "change") return;
      // Where there is no answer it is asked for the next time.
      const { liked: known } = await ask(`tracks/${id}/liked`, { signal }).catch(() => {
        if (asked === turn) id = null;
        return { liked: null };
      });
      if (asked === turn) {
        liked = known;
        show();
      }
    },
  };
}
