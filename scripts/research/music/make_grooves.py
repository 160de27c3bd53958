#!/usr/bin/env python3
"""Renders accompaniments in many styles, as training music: scripts/research/music/make_grooves.py OUT
[--clips N] [--seed S].

Each clip is a random chord progression in a random key and tempo, arranged by MMA (Musical MIDI
Accompaniment) in one of its library's grooves and played by FluidSynth with a random SoundFont.
Writes OUT/STYLE/STYLE-NUMBER.ogg, so that a style is a group in `voisin train`. The clips are
only for training: no accuracy is reported on them.

Needs mma and fluidsynth (built with libsndfile) and one or more SoundFonts (Debian: mma,
fluidsynth, timgm6mb-soundfont, fluid-soundfont-gm). Chords, keys, tempos and SoundFonts follow from
the seed; the same seed and the same versions of both programs give the same clips. Existing clips
are kept.

Licences: MMA's output is not covered by its licence (GPL); the chord progressions are
random. TimGM6mb is GPL-2, FluidR3 is MIT: both may be used for rendering without a claim on the
result.
"""

import argparse
import concurrent.futures
import pathlib
import random
import re
import subprocess
import sys
import tempfile

SKIP = {"none", "metronome", "metronome3", "metronome6", "metronome68"}
BARS = 24
MAJOR = ["I", "ii", "iii", "IV", "V", "vi"]
DEGREES = {
    "I": 0,
    "ii": 2,
    "iii": 4,
    "IV": 5,
    "V": 7,
    "vi": 9,
    "bVII": 10,
    "i": 0,
    "III": 3,
    "iv": 5,
    "v": 7,
    "bVI": 8,
    "VII": 10,
}
MINOR = ["i", "III", "iv", "v", "V", "bVI", "VII"]
NOTES = ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"]


def grooves(library):
    """Maps each style file to the names of its grooves that last (not introductions or endings)."""
    styles = {}
    for path in sorted(library.glob("*.mma")):
        if path.stem in SKIP:
            continue
        names = re.findall(r"^\s*DefGroove\s+(\S+)", path.read_text(errors="replace"), re.M | re.I)
        names = [n for n in dict.fromkeys(names) if not re.search(r"(intro|end|fill|\d)$", n, re.I)]
        if names:
            styles[path.stem] = names
    return styles


def chord(degree, key, rng):
    """A chord symbol that MMA knows."""
    name = NOTES[(DEGREES[degree] + key) % 12]
    minor = degree.lower() == degree or degree == "v"
    kinds = (
        ["m", "m", "m7", "m9"] if minor else ["", "", "7" if degree == "V" else "M7", "6", "sus4"]
    )
    return name + rng.choice(kinds)


def script(groove, rng, bars=BARS):
    """The text of an MMA file: two alternating progressions of four or eight bars."""
    key, scale = rng.randrange(12), rng.choice([MAJOR, MAJOR, MINOR])
    parts = []
    for _ in range(2):
        length = rng.choice([4, 4, 8])
        parts.append(
            [chord(rng.choice(scale), key, rng) for _ in range(length - 1)]
            + [chord(scale[0], key, rng)]
        )
    order = []
    while len(order) < bars:
        order += parts[0] + (parts[1] if rng.random() < 0.5 else [])
    lines = [f"Tempo {rng.randint(70, 165)}", f"RndSeed {rng.randrange(10**6)}", f"Groove {groove}"]
    lines += [f"{i + 1} {name}" for i, name in enumerate(order[:bars])]
    return "\n".join(lines) + "\n"


def render(out, style, groove, number, seed, fonts, bars):
    """Writes one clip; returns None, or why it could not."""
    target = out / style / f"{style}-{number:03}.ogg"
    if target.exists():
        return None
    rng = random.Random(f"{seed} {style} {number}")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "clip.mma").write_text(script(groove, rng, bars))
        made = subprocess.run(
            ["mma", "-f", "clip.mid", "clip.mma"], cwd=folder, capture_output=True, text=True
        )
        if made.returncode or not (folder / "clip.mid").exists():
            return f"{style}/{groove}: mma: {made.stdout.strip().splitlines()[-1:]}"
        font = rng.choice(fonts)
        command = [
            "fluidsynth",
            "-ni",
            "-q",
            "-g",
            "0.7",
            "-r",
            "44100",
            "-T",
            "oga",
            "-F",
            "clip.ogg",
            "-R",
            str(rng.randint(0, 1)),
            "-C",
            str(rng.randint(0, 1)),
            str(font),
            "clip.mid",
        ]
        played = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if played.returncode or not (folder / "clip.ogg").exists():
            return f"{style}/{groove}: fluidsynth: {played.stderr.strip().splitlines()[-1:]}"
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        part.write_bytes((folder / "clip.ogg").read_bytes())
        part.rename(target)
    return None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--clips", type=int, default=5, help="clips per style (5)")
    parser.add_argument(
        "--bars",
        type=int,
        default=BARS,
        help=f"length of a clip ({BARS}; make_songs.py expects that)",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--library", type=pathlib.Path, default=pathlib.Path("/usr/share/mma/lib/stdlib")
    )
    parser.add_argument("--styles", nargs="*", help="only these (all that the library has)")
    parser.add_argument(
        "--font", type=pathlib.Path, nargs="*", help="SoundFonts (those in /usr/share/sounds/sf2)"
    )
    options = parser.parse_args()
    fonts = options.font or sorted(
        {p.resolve() for p in pathlib.Path("/usr/share/sounds/sf2").glob("*.sf2")}
    )
    styles = {
        style: names
        for style, names in grooves(options.library).items()
        if style in (options.styles or [style])
    }
    if not fonts or not styles:
        sys.exit(
            "no SoundFont or no MMA library found: install mma, fluidsynth and a SoundFont, or name them"
        )
    jobs = []
    for number in range(options.clips):
        for style, names in styles.items():
            jobs.append((style, names[number % len(names)], number))
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(
            lambda job: render(options.out, *job, options.seed, fonts, options.bars), jobs
        )
        for done, failure in enumerate(results, 1):
            if failure:
                failures += 1
                print(failure, file=sys.stderr)
            if done % 20 == 0 or done == len(jobs):
                print(f"{done}/{len(jobs)} clips, {failures} failed", flush=True)


if __name__ == "__main__":
    main()
