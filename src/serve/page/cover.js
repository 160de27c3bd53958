// Titles, artists and covers of tracks.
import { h } from "./dom.js";
import { coverOf, events } from "./api.js";

export const titleOf = (track) => track.title || (track.path ?? "").split("/").pop() || "Untitled";
export const artistOf = (track) => track.artist || track.album_artist || "Unknown artist";

/** A hash of a text (FNV-1a). */
const number = (text) =>
  [...text].reduce((n, c) => Math.imul(n ^ c.codePointAt(0), 16777619) >>> 0, 2166136261) >>> 7;

const without = new Set();
// Covers that failed to load while the server was unreachable are tried again.
events.on("back", () => without.clear());
/** The picture in the file; until it has loaded, and without one, a plain square in the artist's colour. */
export function cover(track, large = false) {
  const name = artistOf(track);
  const box = h(
    "span",
    {
      class: "cover" + (large ? " large" : ""),
      "aria-hidden": "true",
      vars: { "--hue": number(track.album || name) % 360 },
    },
    h("span", {
      class: "letter",
      "data-letter": [...(track.artist || titleOf(track))][0]?.toUpperCase() ?? "·",
    }),
  );
  if (track.id !== null && track.id !== undefined && !without.has(track.id)) {
    const image = h("img", {
      alt: "",
      loading: large ? "eager" : "lazy",
      decoding: "async",
      src: coverOf(track.id),
    });
    image.addEventListener("error", () => {
      without.add(track.id);
      image.remove();
    });
    image.addEventListener("load", () => {
      box.classList.add("has");
    });
    box.append(image);
  }
  return box;
}

/** The cover for the system's media controls; voisin's icon if there is none. */
export const artwork = ({ id }) =>
  id === null || id === undefined || without.has(id)
    ? [192, 512].map((side) => ({
        src: new URL(`page/icon-${side}.png`, document.baseURI).href,
        sizes: `${side}x${side}`,
        type: "image/png",
      }))
    : [{ src: coverOf(id) }];
