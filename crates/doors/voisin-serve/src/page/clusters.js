// Groups of tracks that sound alike, regardless of genre.
import { count, h, joined, name, percent } from "./dom.js";
import { requestAll } from "./api.js";
import * as player from "./player.js";
import { mark } from "./playing_marks.js";
import { row } from "./tracks.js";
import { empty, framed, load } from "./states.js";
import { parts as partsOfGenres } from "./genres.js";

/** Most members that are shown of a cluster. */
const MOST = 100;
let answer = null,
  place = null;

/** Members come in pages, cluster after cluster. */
const members = (all, page) => {
  page.clusters.forEach((cluster, i) => all.clusters[i].members.push(...cluster.members));
  all.noise.push(...page.noise);
};

export function show(root, route, signal) {
  place = null;
  const about = h(
      "p",
      { class: "faint" },
      "Groups of tracks that sound alike, regardless of their tags.",
    ),
    frame = framed("clusters", "Clusters", partsOfGenres("clusters"), about);
  load(
    root,
    signal,
    (waiting) => requestAll("clusters", [members], { signal, waiting }),
    (found) => {
      answer = found;
      if (!found.clusters.length)
        return root.replaceChildren(
          frame(empty("No clusters yet", "They need more tracks that sound alike.")),
        );
      const detail = h("section", { class: "genre-detail", "aria-live": "polite" });
      about.textContent = `Groups of tracks that sound alike, regardless of their tags: ${count(found.clusters.length, "cluster")}, and ${count(found.noise.length, "track")} in none.`;
      root.replaceChildren(
        frame(
          h(
            "ul",
            { class: "cluster-list" },
            found.clusters.map((cluster) =>
              h(
                "li",
                {},
                h(
                  "a",
                  { href: "#/clusters/" + cluster.id, "data-cluster": cluster.id },
                  name(cluster.name, "b", { title: cluster.name }),
                  h(
                    "span",
                    { class: "faint" },
                    joined([count(cluster.tracks, "track"), ...marks(cluster.genres).slice(0, 2)]),
                  ),
                ),
              ),
            ),
          ),
          detail,
        ),
      );
      place = detail;
      choose(Number(route.parts[1]) || found.clusters[0].id);
      return null;
    },
    frame,
  );
}
export function update(route) {
  if (place) choose(Number(route.parts[1]));
}

/** Values that are more frequent in a cluster than in the library. */
const marks = (shares) =>
  shares
    .filter(({ share, lift }) => share >= 0.05 && lift > 1)
    .map(
      ({ label, share, tracks, predicted }) =>
        `${label} ${percent(share)}` + (predicted ? ` (${predicted} of ${tracks} predicted)` : ""),
    );

function choose(id) {
  for (const link of document.querySelectorAll("[data-cluster]"))
    if (Number(link.dataset.cluster) === id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  const cluster = answer.clusters.find((one) => one.id === id);
  if (!cluster) return;
  const all = cluster.members.map((track) => ({ track }));
  const facts = [
    ["Genres", marks(cluster.genres)],
    ["Artists", marks(cluster.artists)],
  ].filter(([, found]) => found.length);
  place.replaceChildren(
    name(cluster.name, "h2"),
    h(
      "dl",
      { class: "facts" },
      facts.map(([label, found]) =>
        h("div", {}, h("dt", {}, label), h("dd", {}, joined(found.slice(0, 3), ", "))),
      ),
    ),
    cluster.nearest.length
      ? h(
          "p",
          { class: "faint" },
          "Nearest: ",
          cluster.nearest
            .slice(0, 3)
            .flatMap((near, i) => [
              i ? ", " : "",
              name(near.name, "a", { href: "#/clusters/" + near.id }),
            ]),
        )
      : null,
    h(
      "div",
      { class: "part-acts" },
      h("button", { type: "button", class: "small", onclick: () => player.play(all) }, "Play all"),
      player.radioButton(() => cluster.members.toSpliced(MOST), { class: "small" }),
    ),
    h(
      "ul",
      { class: "rows" },
      all.slice(0, MOST).map((entry) => row(entry, { all: () => all })),
    ),
    all.length > MOST
      ? h("p", { class: "faint" }, `… and ${count(all.length - MOST, "track")} more`)
      : null,
  );
  mark();
}
