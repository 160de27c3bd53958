// The review of labels that look wrong: listen, accept the suggestion, or keep the label. Decisions are stored in the library.
import { html, useEffect, useState } from "./html.js";
import { request } from "./api.js";
import {
  Cover,
  Empty,
  Icon,
  Name,
  Page,
  artistOf,
  count,
  isolated,
  joined,
  loaded,
  percent,
  sentence,
  spelled,
  titleOf,
  useAnswer,
} from "./parts.js";
import * as player from "./player.js";
import { announce, toast } from "./state.js";

const ABOUT =
  "Labels that do not fit the sound, as predicted by models that were trained without the artist. " +
  "Decisions are stored in the library; your files are not changed.";
const give = (body) => request("labels", { method: "PUT", body, once: true });

export function Review() {
  const [all, setAll] = useState(false);
  const answer = useAnswer(
    async (more) => {
      const [suspects, labels] = await Promise.all([
        request("suspects", { query: { all: all || undefined }, ...more }),
        request("labels", more),
      ]);
      const decided = new Set(labels.by_hand.map(({ id }) => id));
      return suspects.items.filter(({ id }) => !decided.has(id));
    },
    [all],
  );
  return html`
    <${Page} name="review" title="Review" about=${ABOUT}>
      <div class="review">
        ${loaded(answer, (suspects) =>
          suspects.length
            ? html`<${Round} suspects=${suspects} again=${answer.again} />`
            : html`<${Empty} title="No label looks wrong">
                <p>Every label fits the sound, or there are too few labels to tell.</p>
                <button type="button" onClick=${() => setAll(true)}>
                  Show the least certain ones anyway
                </button>
              <//>`,
        )}
      </div>
    <//>`;
}

/** One suspect after the other. */
function Round({ suspects, again }) {
  const [at, setAt] = useState(0),
    [done, setDone] = useState([]),
    [isBusy, setBusy] = useState(false);
  const store = async (work) => {
    if (isBusy) return;
    setBusy(true);
    try {
      await work();
    } catch (error) {
      toast(spelled(error));
    }
    setBusy(false);
  };
  const suspect = suspects[at];
  const decide = (genre) =>
    store(async () => {
      const answer = await give({ tracks: [suspect.id], genre });
      setDone([...done, { suspect, at, isNew: answer.changed > 0 }]);
      setAt(at + 1);
      announce(`${genre}, stored in the library`);
    });
  const undo = () =>
    store(async () => {
      const last = done.at(-1);
      if (last.isNew) await give({ tracks: [last.suspect.id] });
      setDone(done.slice(0, -1));
      setAt(last.at);
      announce("Undone");
    });
  if (!suspect)
    return html`<${Empty} title="That was the last one">
      <p>${count(done.length, "decision")} in this round.</p>
      <button type="button" onClick=${again}>Check again with these decisions</button>
    <//>`;
  const acts = {
    accept: () => decide(suspect.suggested),
    keep: () => decide(suspect.labels.join("; ")),
    skip: () => setAt(at + 1),
    undo: done.length ? undo : null,
  };
  return html`<${Suspect} ...${{ suspect, at, of: suspects.length, acts }} />`;
}

/** The keys of the review. */
const KEYS = { a: "accept", k: "keep", s: "skip", z: "undo" };
function useKeys(acts) {
  useEffect(() => {
    const press = (event) => {
      const act = acts[KEYS[event.key.toLowerCase()]];
      if (!act || event.ctrlKey || event.metaKey || event.target.closest("input, select")) return;
      event.preventDefault();
      act();
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  });
}

function Suspect({ suspect, at, of, acts }) {
  useKeys(acts);
  const shown = useAnswer(
    (more) => request("show", { query: { track: "id:" + suspect.id }, ...more }),
    [suspect.id],
  );
  const track = shown.value?.id === suspect.id ? shown.value : suspect,
    title = titleOf(track);
  return html`
    <article class="suspect" aria-label=${title}>
      <p class="progress"><span>${at + 1} of ${of}</span><i style=${{ "--share": at / of }}></i></p>
      <div class="card-head">
        <${Cover} track=${track} large />
        <div class="words">
          <h2><${Name} as="a" href=${"#/track/" + track.id} title=${title} text=${title} /></h2>
          <${Name} as="p" class="by" text=${artistOf(track)} />
          <p class="faint">${joined([track.album, track.year])}</p>
          <div class="acts">
            <button type="button" class="primary" id="play-suspect"
              onClick=${() => player.playNow({ track })}><${Icon} name="play" />Play</button>
          </div>
        </div>
      </div>
      <div class="versus">
        <${Claim} title="Label" genre=${suspect.labels.join(", ")} share=${suspect.label_probability} />
        <${Claim} title="Prediction" genre=${suspect.suggested} share=${suspect.suggested_probability}
          class="suggested" />
      </div>
      <p class="faint">${sentence(suspect.reason)}</p>
      <${Decide} suspect=${suspect} acts=${acts} />
    </article>`;
}

const Claim = ({ title, genre, share, class: more }) => html`
  <div class=${more}>
    <small>${title}</small><${Name} as="b" text=${genre} />
    <span class="meter" style=${{ "--share": share }}></span>
    <span class="faint">${percent(share)} likely</span>
  </div>`;

function Decide({ suspect, acts }) {
  const button = (name, key, label, more = {}) => html`
    <button type="button" id=${name} title=${key} disabled=${!acts[name]} onClick=${acts[name]} ...${more}>
      ${label}<kbd aria-hidden="true">${key}</kbd>
    </button>`;
  return html`
    <div class="decide">
      ${button("accept", "A", `Change to ${isolated(suspect.suggested)}`, { class: "primary" })}
      ${button("keep", "K", `Keep ${isolated(suspect.labels.join(", "))}`)}
      ${button("skip", "S", "Skip")} ${button("undo", "Z", "Undo")}
    </div>`;
}
