#!/usr/bin/env python3
"""Evaluation music that no teacher and no student was trained on: scripts/research/music/make_clean_eval.py
PACKAGES GROOVES VOICES OUT

PACKAGES, GROOVES and VOICES are folders of music that is held out from training (first folder:
package, style; VOICES as scripts/research/music/make_voices.py writes them, with a separate seed). Writes
labels for scripts/research/quality/neighbour_quality.py:

- OUT/packages.tsv: a track's package, of packages with at least five tracks, at most 20 each;
- OUT/grooves.tsv: a groove's style;
- OUT/sung/{sung,plain}/PACKAGE/NAME.ogg and OUT/sung.tsv: 20 s out of the middle of each of those
  tracks, as it is and with a sung voice over it at -6 to +3 dB, with packages as artists, so that
  "sung" is not predicted by the package.

Music that has singing already distorts the last one a little, for all models alike. Needs ffmpeg,
numpy and soundfile.
"""

import csv
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy
import soundfile

AUDIO = {".ogg", ".mp3", ".flac", ".wav", ".opus", ".oga", ".m4a"}
RATE = 44100
SECONDS = 20


def groups(folder):
    """{first folder: files}, sorted."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in AUDIO and len(path.relative_to(folder).parts) > 1:
            found.setdefault(path.relative_to(folder).parts[0], []).append(path)
    return found


def decode(path, *options):
    done = subprocess.run(
        [
            "ffmpeg",
            "-nostdin",
            "-v",
            "error",
            *options,
            "-i",
            path,
            "-t",
            str(SECONDS),
            "-f",
            "f32le",
            "-ac",
            "1",
            "-ar",
            str(RATE),
            "-",
        ],
        capture_output=True,
    )
    return numpy.frombuffer(done.stdout, "<f4").copy()


def level(samples):
    return float(numpy.sqrt((samples.astype(float) ** 2).mean()))


def write(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None)
        writer.writerow(["file", "genre", "artist", "cluster"])
        writer.writerows(rows)


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    packages, grooves, voices, out = map(pathlib.Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    draw = random.Random(1)
    chosen = {
        name: sorted(draw.sample(files, min(20, len(files))))
        for name, files in groups(packages).items()
        if len(files) >= 5
    }
    tracks = [(name, path) for name, files in chosen.items() for path in files]
    write(
        out / "packages.tsv",
        [
            (path.relative_to(packages).as_posix(), name, path.stem + name, name)
            for name, path in tracks
        ],
    )
    write(
        out / "grooves.tsv",
        [
            (path.relative_to(grooves).as_posix(), name, path.stem, name)
            for name, files in groups(grooves).items()
            for path in files
        ],
    )
    singers = [path for path in sorted(voices.rglob("*.ogg")) if "sung" in path.parts]
    rows = []
    for name, path in tracks:
        seconds = float(
            subprocess.run(
                [
                    "ffprobe",
                    "-v",
                    "error",
                    "-show_entries",
                    "format=duration",
                    "-of",
                    "csv=p=0",
                    path,
                ],
                capture_output=True,
                text=True,
            ).stdout
            or 0
        )
        music = decode(path, "-ss", str(max(0.0, seconds / 2 - SECONDS / 2)))
        voice = decode(draw.choice(singers))
        gain = 10 ** (draw.uniform(-6, 3) / 20)
        if len(music) < 5 * RATE or level(music) < 1e-4:
            continue
        voice = numpy.resize(voice, len(music))
        both = music + voice * (gain * level(music) / max(level(voice), 1e-6))
        for kind, samples in (("plain", music), ("sung", both)):
            target = out / "sung" / kind / name / (path.stem + ".ogg")
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(suffix=".wav") as wave:
                # Equally loud: level is no hint.
                soundfile.write(
                    wave.name,
                    samples
                    * (0.1 / level(samples))
                    / max(1.0, abs(samples).max() * 0.1 / level(samples)),
                    RATE,
                )
                subprocess.run(
                    [
                        "ffmpeg",
                        "-nostdin",
                        "-v",
                        "error",
                        "-y",
                        "-i",
                        wave.name,
                        "-c:a",
                        "libvorbis",
                        "-q:a",
                        "5",
                        target,
                    ],
                    check=True,
                )
            rows.append((target.relative_to(out).as_posix(), kind, name, name))
    write(out / "sung.tsv", rows)
    print(f"{len(tracks)} tracks of {len(chosen)} packages, {len(rows)} excerpts")


if __name__ == "__main__":
    main()
