// Keyboard shortcuts: the player's, the search, and the places by their numbers.
import * as player from "./player.js";
import { place } from "./state.js";

function lookFor() {
  document.getElementById("search").focus();
  document.getElementById("search").select();
}
const KEYS = {
  " ": player.toggle,
  ArrowLeft: () => player.seekBy(-5),
  ArrowRight: () => player.seekBy(5),
  n: () => player.step(1),
  p: () => player.step(-1),
  m: player.mute,
  q: () => player.openQueue(),
  "/": lookFor,
};
function leave({ target }) {
  if (player.isOpen.value) player.openQueue(false);
  else if (target.id === "search") target.blur();
  else if (place.value.name === "listen" && place.value.parts.length) location.hash = "#/";
}
/** Acts on keys; numbers open the addresses in their order. */
export function listenToKeys(addresses) {
  addresses.forEach((address, i) => {
    KEYS[i + 1] = () => {
      location.hash = address;
    };
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return leave(event);
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]"))
      return undefined;
    const field = event.target.closest("input, select, textarea"),
      name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (field && (field.type !== "range" || name.startsWith("Arrow"))) return undefined;
    // A button is pressed with the space bar.
    if (name === " " && event.target.closest("button, a, summary")) return undefined;
    if (!KEYS[name]) return undefined;
    event.preventDefault();
    return KEYS[name]();
  });
}
