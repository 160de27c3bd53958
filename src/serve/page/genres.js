// How close the genres are to one another: a tree, and for each genre its kin and its typical tracks.
import { html } from "./html.js";
import { request } from "./api.js";
import { Empty, Name, Page, Part, count, loaded, useAnswer } from "./parts.js";
import { PlayAll, Row } from "./tracks.js";

/** Genres in the tree, the largest ones: more are unreadable. */
const MOST = 24;
const ABOUT =
  "How close your genres are to one another, measured from the sound of their tracks: " +
  "0 is the same, 1 is unrelated. Select one for details.";

export function Genres({ parts }) {
  const answer = useAnswer((more) => request("genres", more), []);
  return html`
    <${Page} name="genres" title="Genres" about=${ABOUT}>
      ${loaded(answer, (found) =>
        found.genres.length
          ? html`<${Found} ...${found} wanted=${decodeURIComponent(parts[1] ?? "")} />`
          : html`<${Empty} title="No genres yet">
              <p>Give tracks a genre in their tags, or review the guesses.</p>
            <//>`,
      )}
    <//>`;
}

function Found({ genres, distance, wanted }) {
  const largest = [...genres.keys()].sort((a, b) => genres[b].tracks - genres[a].tracks),
    genre = genres.find((one) => one.genre === wanted) ?? genres[largest[0]],
    root = joinedUp(largest.slice(0, MOST), distance);
  return html`
    <${Tree} names=${root.members.map((i) => genres[i].genre)} root=${root} open=${genre.genre} />
    <${Detail} genre=${genre} />`;
}

const Link = ({ genre }) =>
  html`<${Name} as="a" href=${"#/genres/" + encodeURIComponent(genre)} title=${genre} text=${genre} />`;

/** Genres joined from the nearest pair up, the distance of two groups being the mean of their genres' (average linkage). */
function joinedUp(shown, distance) {
  const far = (a, b) => {
    const all = a.members.flatMap((i) => b.members.map((j) => distance[i][j]));
    return all.reduce((sum, one) => sum + one, 0) / all.length;
  };
  let groups = shown.map((i) => ({ members: [i], at: 0 }));
  while (groups.length > 1) {
    const pairs = groups.flatMap((a, i) =>
      groups.slice(i + 1).map((b) => ({ children: [a, b], at: far(a, b) })),
    );
    const best = pairs.reduce((least, pair) => (pair.at < least.at ? pair : least)),
      members = best.children.flatMap((child) => child.members);
    groups = [{ ...best, members }, ...groups.filter((group) => !best.children.includes(group))];
  }
  return groups[0];
}

/** Height of a name, and the width of the lines. */
const ROW = 34,
  WIDTH = 320;

function Tree({ names, root, open }) {
  const end = Math.max(root.at, 0.01),
    height = ROW * root.members.length,
    across = (at) => (8 + ((WIDTH - 16) * at) / end).toFixed(1),
    lines = [];
  const middle = (group) => {
    if (!group.children) return ROW * (root.members.indexOf(group.members[0]) + 0.5);
    const ends = group.children.map((child) => {
      const y = middle(child);
      lines.push(`M${across(child.at)} ${y}H${across(group.at)}`);
      return y;
    });
    lines.push(`M${across(group.at)} ${ends[0]}V${ends[1]}`);
    return (ends[0] + ends[1]) / 2;
  };
  middle(root);
  return html`
    <figure class="tree">
      <ul>
        ${names.map(
          (genre) => html`
            <li key=${genre} data-genre=${genre} class=${genre === open ? "is-open" : ""}>
              <${Link} genre=${genre} />
            </li>`,
        )}
      </ul>
      <svg viewBox=${`0 0 ${WIDTH} ${height}`} width=${WIDTH} height=${height}
        preserveAspectRatio="none" aria-hidden="true"><path class="line" d=${lines.join("")} /></svg>
      <figcaption class="faint">
        Lines meet where groups are as far apart as their genres are on average:
        from 0 at the names to ${end.toFixed(2)}.
      </figcaption>
    </figure>`;
}

const Detail = ({ genre }) => html`
  <section class="genre-detail" aria-live="polite">
    <${Name} as="h2" text=${genre.genre} />
    <p class="faint">${count(genre.tracks, "track")} · cohesion ${genre.cohesion.toFixed(2)}</p>
    <div class="columns">
      <${Part} title="Nearest kin">
        <ul class="kin">
          ${genre.nearest.slice(0, 8).map(
            (kin) => html`
              <li key=${kin.genre}>
                <${Link} genre=${kin.genre} /><i style=${{ "--mid": kin.distance }}></i>
                <span>${kin.distance.toFixed(2)}</span>
              </li>`,
          )}
        </ul>
      <//>
      <${Part} title="Typical">
        <${PlayAll} tracks=${genre.typical} radio />
        <ul class="rows small">
          ${genre.typical.map((track) => html`<${Row} key=${track.id} track=${track} />`)}
        </ul>
      <//>
    </div>
  </section>`;
