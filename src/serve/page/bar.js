// The player's bar at the bottom, and the queue above it.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { Cover, Icon, IconButton, Name, artistOf, clock, isolated, titleOf } from "./parts.js";
import * as player from "./player.js";
import { useShared } from "./state.js";

/** How much of a range is filled. */
const filled = (value, most) => ({ "--part": (100 * value) / (most || 1) + "%" });

/** Tells the window's title and the system's media controls what plays. */
function useNames(track) {
  useEffect(() => {
    const session = navigator.mediaSession;
    if (!track) return;
    document.title = `${isolated(titleOf(track))} – ${isolated(artistOf(track))} · voisin`;
    if (!session) return;
    session.metadata = new MediaMetadata({ title: titleOf(track), artist: artistOf(track) });
    session.setActionHandler("previoustrack", () => player.step(-1));
    session.setActionHandler("nexttrack", () => player.step(1));
  }, [track]);
}

export function Bar() {
  const now = useShared(player.changes),
    isOpen = useShared(player.isOpen),
    track = now.entry?.track;
  useNames(track);
  return html`
    <section id="player" aria-label="Player" class=${track ? "" : "idle"}>
      <${Now} track=${track} />
      <${Buttons} ...${now} />
      <${Time} track=${track} />
      <div class="aside">
        <button id="mute" class="quiet" title="Sound on or off (M)" aria-label="Mute"
          aria-pressed=${String(now.muted)} onClick=${player.mute}>
          <${Icon} name=${now.volume ? "volume" : "muted"} />
        </button>
        <${Volume} id="volume" volume=${now.volume} label="Volume" />
        <button id="queue" class=${"quiet" + (now.at + 1 < now.queue.length ? " some" : "")}
          title="Up next (Q)" aria-label="Up next" aria-expanded=${String(isOpen)}
          aria-controls="queue-panel" onClick=${() => player.openQueue()}><${Icon} name="queue" /></button>
      </div>
    </section>
    ${isOpen && html`<${Queue} ...${now} />`}`;
}

const Now = ({ track }) => html`
  <div class="now">
    <span id="now-cover">${track && html`<${Cover} key=${track.id} track=${track} />`}</span>
    <div class="words">
      ${
        track
          ? html`<a id="now-title" title=${titleOf(track)}
                href=${track.id === null ? "#/file" : "#/track/" + track.id}><${Name} text=${titleOf(track)} /></a>
              <span id="now-artist"><${Name} text=${artistOf(track)} /></span>`
          : html`<a id="now-title" href="#/">Nothing plays</a><span id="now-artist">Choose a track</span>`
      }
    </div>
  </div>`;

function Buttons({ entry, queue, at, isOn, isWaiting }) {
  const label = isWaiting ? "Pause: waiting for the server" : isOn ? "Pause" : "Play";
  return html`
    <div class="buttons">
      <${IconButton} id="previous" icon="previous" label="Previous track" disabled=${!entry}
        onClick=${() => player.step(-1)} />
      <button id="play" class="round" title="Play or pause (Space)" aria-label=${label}
        aria-busy=${String(isWaiting)} disabled=${!entry} onClick=${player.toggle}>
        <${Icon} name=${isOn ? "pause" : "play"} />
      </button>
      <${IconButton} id="next" icon="next" label="Next track" disabled=${at + 1 >= queue.length}
        onClick=${() => player.step(1)} />
    </div>`;
}

function Time({ track }) {
  const [dragged, setDragged] = useState(null),
    played = useShared(player.time),
    seconds = track ? (dragged ?? played) : 0,
    length = track ? player.length() : 0;
  const move = ({ target }) => {
    setDragged(null);
    player.move(Number(target.value));
  };
  return html`
    <div class="time">
      <output id="elapsed" for="seek" aria-label="Time played">${clock(seconds)}</output>
      <input id="seek" type="range" min="0" max=${Math.max(1, length)} step="0.1" value=${seconds}
        aria-label="Position in the track" aria-valuetext=${`${clock(seconds)} of ${clock(length)}`}
        disabled=${!track} style=${filled(seconds, length)}
        onInput=${({ target }) => setDragged(Number(target.value))} onChange=${move} />
      <span id="length">${clock(length)}</span>
    </div>`;
}

const Volume = ({ id, volume, label }) => html`
  <input id=${id} type="range" min="0" max="1" step="0.01" value=${volume} aria-label=${label}
    style=${filled(volume, 1)} onInput=${({ target }) => player.setVolume(Number(target.value))} />`;

/** What plays and what follows; it opens at its top. */
function Queue({ queue, at, repeat, goesOn, station, volume }) {
  const panel = useRef(),
    next = queue.slice(Math.max(0, at));
  useLayoutEffect(() => {
    panel.current.querySelector("[aria-label=Close]").focus({ preventScroll: true });
    return () => document.getElementById("queue").focus();
  }, []);
  const names = { off: "Repeat", all: "Repeat: all", one: "Repeat: this track" };
  return html`
    <aside id="queue-panel" aria-label="Up next" ref=${panel}>
      <div class="head">
        <h2>Up next</h2>
        <button type="button" class="small" disabled=${!next.length} onClick=${player.clear}>Clear</button>
        <${IconButton} icon="close" label="Close" onClick=${() => player.openQueue(false)} />
      </div>
      ${station && html`<p class="faint" role="status">Radio: music like ${station.name}</p>`}
      <div class="part-acts">
        <button type="button" class="small" id="shuffle" disabled=${next.length < 3}
          onClick=${player.shuffle}>Shuffle</button>
        <button type="button" class="small" id="repeat" aria-pressed=${String(repeat !== "off")}
          onClick=${player.nextRepeat}>${names[repeat]}</button>
        <button type="button" class="small" id="save" disabled=${!next.length}
          onClick=${player.save}>Save as M3U8</button>
      </div>
      <label class="inline">
        <input type="checkbox" id="radio" checked=${goesOn}
          onChange=${({ target }) => player.setRadio(target.checked)} />
        <span>Keep playing similar music</span>
      </label>
      <label class="phone-volume">Volume<${Volume} volume=${volume} label="Volume" /></label>
      ${
        next.length
          ? html`<ol class="rows">
              ${next.map((entry, i) => html`<${Queued} entry=${entry} index=${Math.max(0, at) + i} isNow=${i === 0} />`)}
            </ol>`
          : html`<p class="faint">Nothing yet. Play a track of a list, and the others follow.</p>`
      }
    </aside>`;
}

function Queued({ entry: { track }, index, isNow }) {
  const title = titleOf(track);
  return html`
    <li class=${"queued" + (isNow ? " is-now" : "")}>
      <button type="button" class="words plain-button" aria-current=${isNow ? "true" : null}
        onClick=${() => player.start(index)}>
        <${Cover} key=${track.id} track=${track} />
        <${Name} as="span" class="title" title=${title} text=${title} />
        <${Name} as="span" class="faint" text=${artistOf(track)} />
      </button>
      <${IconButton} icon="close" label=${`Remove ${isolated(title)} from the queue`}
        onClick=${() => player.drop(index)} />
    </li>`;
}
