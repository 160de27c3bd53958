// What a track is called, and the picture that stands for it.
import { h } from "./dom.js";
import { coverOf, events } from "./api.js";

export const titleOf = (track) => track.title || (track.path ?? "").split("/").pop() || "Untitled";
export const artistOf = (track) => track.artist || track.album_artist || "Unknown artist";

/** A number from a text, the same every time (FNV-1a). */
const number = (text) =>
  [...text].reduce((n, c) => Math.imul(n ^ c.codePointAt(0), 16777619) >>> 0, 2166136261) >>> 7;

const without = new Set();
// Those that were asked for while the server was gone may have one.
events.on("back", () => without.clear());
/** The picture in the file; until it is there, and where there is none, a plain one in the artist's colour. */
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

/** The same picture for what the system shows of what plays; voisin's sign where there is none. */
export const artwork = ({ id }) =>
  id === null || id === undefined || without.has(id)
    ? [192, 512].map((side) => ({
        src: new URL(`page/icon-${side}.png`, document.baseURI).href,
        sizes: `${side}x${side}`,
        type: "image/png",
      }))
    : [{ src: coverOf(id) }];
