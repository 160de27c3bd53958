#!/usr/bin/env python3
"""Renders the demo's punk: scripts/research/music/make_punk.py CORPUS

No free punk was found in the packages of Debian, so three pieces are rendered: MMA's punk drums,
distorted guitars on power chords in eighths, a picked bass, without vocals. Writes
CORPUS/mma/punk/NAME.ogg, from which make_demo.py cuts excerpts. Needs mma and fluidsynth with the
SoundFont FluidR3 (Debian: mma, fluidsynth, fluid-soundfont-gm); the pieces are generated here and
CC0.
"""

import pathlib
import subprocess
import sys
import tempfile

FONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
# Name: beats a minute, MMA's groove, chords of eight bars.
PIECES = {
    "basement": (184, "PUNK01", "A5 A5 D5 E5 A5 F#5 D5 E5"),
    "last-bus": (200, "PUNK02", "G5 C5 D5 C5 G5 E5 C5 D5"),
    "three-chords": (192, "PUNK01", "E5 A5 B5 A5 E5 E5 A5 B5"),
}
EIGHTHS = [f"{1 + beat / 2:g}" for beat in range(8)]


def track(kind, voice, octave, pattern, extra=""):
    """A track of MMA that strikes every eighth, the beats harder."""
    notes = "; ".join(
        pattern.format(start=start, volume=100 if "." not in start else 85) for start in EIGHTHS
    )
    return (
        f"Begin {kind}\n Voice {voice}\n Octave {octave}\n Articulate 95\n {extra}\n"
        f" Sequence {{{notes}}}\nEnd\n"
    )


def score(tempo, groove, chords):
    bars = chords.split() * 6
    guitars = [
        track("Chord-Left", "DistortionGuitar", 3, "{start} 8 {volume}", "MidiPan 20"),
        track("Chord-Right", "OverdriveGuitar", 4, "{start} 8 {volume}", "MidiPan 108"),
        track("Bass-Picked", "PickedBass", 2, "{start} 8 1 {volume}"),
    ]
    lines = [f"Tempo {tempo}", f"Groove zoom:{groove}", "SeqSize 2", *guitars]
    return "\n".join(lines + [f"{i + 1} {chord}" for i, chord in enumerate(bars)]) + "\n"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1]) / "mma" / "punk"
    out.mkdir(parents=True, exist_ok=True)
    for name, piece in PIECES.items():
        with tempfile.TemporaryDirectory() as folder:
            text = pathlib.Path(folder) / "piece.mma"
            text.write_text(score(*piece))
            midi = pathlib.Path(folder) / "piece.mid"
            subprocess.run(["mma", "-f", midi, text], check=True)
            options = ["-ni", "-q", "-g", "0.7", "-r", "44100", "-T", "oga"]
            target = out / f"{name}.ogg"
            subprocess.run(["fluidsynth", *options, "-F", target, FONT, midi], check=True)


if __name__ == "__main__":
    main()
