// Marks of the current track: covers with a play button, and rows.
import { changes, h, icon, isolated } from "./dom.js";
import { cover, titleOf } from "./cover.js";
import * as player from "./player.js";

/** A cover that plays its track; `all`: returns its list, whose other tracks follow. */
export function playCover(entry, all) {
  const button = h(
    "button",
    {
      type: "button",
      class: "play-cover",
      "aria-label": "Play " + isolated(titleOf(entry.track)),
      onclick: () => {
        if (all) player.playFrom(entry, all());
        else player.playNow(entry);
      },
    },
    cover(entry.track),
    icon("play"),
  );
  return button;
}

// Marks all rows of the current track.
changes.on("change", mark);
export function mark() {
  const open = Number(location.hash.match(/^#\/track\/(\d+)/)?.[1] ?? NaN);
  for (const element of document.querySelectorAll(".index .track"))
    element.classList.toggle("is-open", Number(element.dataset.id) === open);
  for (const element of document.querySelectorAll(".track")) {
    const id = Number(element.dataset.id),
      sounds = player.isPlaying(id);
    element.classList.toggle("is-now", player.current()?.track.id === id);
    element.querySelector(".play-cover use")?.setAttribute("href", sounds ? "#i-pause" : "#i-play");
  }
}
