#!/usr/bin/env python3
"""Makes small data sets in the layouts that the laboratory reads: scripts/make_lab_data.py OUT

Writes below OUT:

    fma/                 the Free Music Archive's exact layout: fma_metadata/tracks.csv with its three header rows, a
                         biography with commas, quotes and line breaks, nested subsets, a split by
                         artist; fma_small/NNN/ NNNNNN.mp3 with a missing, an empty, a truncated, a
                         short and a silent file, and a mislabelled one
    genres_original/     a folder for each genre, as in GTZAN, with a file that does not decode
    genre_lists/         its split: train, valid and test, one path a line
    challenge/           train.csv (titre,id_genre) and train/, test.csv and test/, sample_submission.csv, truth.csv

There are eight styles, synthesised: plain tones, chords and noises, only for tests. All files are WAV, whatever their
name. The data is deterministic.
"""

import array
import csv
import math
import pathlib
import random
import sys
import wave

RATE = 16000
SECONDS = 3.5
ARTISTS = 4
TRACKS_OF_ARTIST = 2
STYLES = [
    "Electronic",
    "Experimental",
    "Folk",
    "Hip-Hop",
    "Instrumental",
    "International",
    "Pop",
    "Rock",
]
LICENCES = ["Attribution", "Attribution-ShareAlike", "FMA-Limited: Download Only"]


def synthesised(style, artist, seed, seconds):
    """Samples of one clip: an artist's register and tempo in the sound of a style."""
    rng, who = random.Random(f"{style}/{artist}/{seed}"), random.Random(f"{style}/{artist}")
    root = 110 * 2 ** (who.randrange(12) / 12)
    step = int(RATE * 60 / (70 + 15 * style + who.randrange(10)) / 2)
    out = array.array("f", bytes(4 * int(RATE * seconds)))
    at, beat = 0, 0
    while at < len(out):
        pitch = root * 2 ** (rng.choice([0, 2, 4, 7, 9, 12]) / 12) * (1 + style % 3)
        for i in range(min(step, len(out) - at)):
            t, fall = i / RATE, math.exp(-i / RATE * (3 + 2 * (style % 4)))
            tone = math.sin(2 * math.pi * pitch * t)
            if style in (0, 6):
                tone = math.copysign(0.5, tone)
            if style in (2, 4):
                tone += 0.5 * math.sin(4 * math.pi * pitch * t) + 0.3 * math.sin(
                    6 * math.pi * pitch * t
                )
            noise = rng.uniform(-1, 1) if style in (1, 3, 7) and (beat % 2 or style == 1) else 0.0
            out[at + i] += 0.3 * fall * ((1 - 0.2 * style / 8) * tone + (0.3 + 0.1 * style) * noise)
        at, beat = at + step, beat + 1
    return out


def write_wav(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(
            array.array("h", [int(32767 * max(-1, min(1, v))) for v in samples]).tobytes()
        )


def write_clip(path, style, artist, number, seconds=SECONDS):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, synthesised(style, artist, number, seconds))


def fma(out):
    audio, metadata = out / "fma_small", out / "fma_metadata"
    metadata.mkdir(parents=True, exist_ok=True)
    columns = [
        ("album", "id"),
        ("album", "title"),
        ("artist", "bio"),
        ("artist", "id"),
        ("artist", "name"),
        ("set", "split"),
        ("set", "subset"),
        ("track", "duration"),
        ("track", "genre_top"),
        ("track", "genres"),
        ("track", "genres_all"),
        ("track", "license"),
        ("track", "title"),
    ]
    bio = '<p>Born by the sea,\nshe said: "no, never".</p>'
    rows, number = [], 0
    faults = {3: "missing", 7: "empty", 12: "truncated", 18: "short", 23: "silent"}
    for style in range(len(STYLES)):
        for artist in range(ARTISTS):
            split = (
                "test"
                if artist == ARTISTS - 1
                else "validation"
                if artist == ARTISTS - 2
                else "training"
            )
            for own in range(TRACKS_OF_ARTIST):
                number += 1
                # ids of one to six digits, as the real ones
                track = (
                    number if number < 10 else number * 13 if number < 70 else 100000 + number * 7
                )
                subset = "medium" if number % 29 == 0 else "large" if number % 31 == 0 else "small"
                genre = STYLES[style] if number != 40 else STYLES[(style + 1) % 8]
                top = "" if number == 50 else genre
                who = style * 100 + artist
                rows.append(
                    [
                        track,
                        who * 10 + own % 2,
                        f"Album {own % 2}",
                        bio if own == 0 else "",
                        who,
                        f"Artist, {who}",
                        split,
                        subset,
                        30,
                        top,
                        f"[{style}]",
                        f"[{style}]",
                        LICENCES[who % 3],
                        f'Track "{own}"',
                    ]
                )
                path = audio / f"{track:06}"[:3] / f"{track:06}.mp3"
                fault = faults.get(number)
                path.parent.mkdir(parents=True, exist_ok=True)
                if fault == "empty":
                    path.write_bytes(b"")
                elif fault == "silent":
                    write_wav(path, [0.0] * RATE * 3)
                elif fault != "missing":
                    write_clip(path, style, artist, own, 1.0 if fault == "short" else SECONDS)
                if fault == "truncated":
                    path.write_bytes(path.read_bytes()[:30])
    with open(metadata / "tracks.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["", *(level for level, _ in columns)])
        writer.writerow(["", *(name for _, name in columns)])
        writer.writerow(["track_id", *("" for _ in columns)])
        writer.writerows(rows)


def genres(out, lists, per_genre):
    lists.mkdir(parents=True, exist_ok=True)
    parts = {"train": [], "valid": [], "test": []}
    for style in range(4):
        name = STYLES[style].lower()
        for number in range(per_genre):
            path = out / name / f"{name}.{number:05}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            if (style, number) == (1, per_genre - 1):
                path.write_bytes(b"RIFF and no more")
            else:
                write_clip(path, style, number // 3, number)
            part = "test" if number % 6 == 5 else "valid" if number % 6 == 4 else "train"
            parts[part].append(f"{name}/{name}.{number:05}.au")
    for part, paths in parts.items():
        (lists / f"{part}_filtered.txt").write_text("\n".join(paths) + "\n")


def challenge(out):
    tables = {"train": [], "test": []}
    for style in range(4):
        for artist in range(ARTISTS):
            part = "test" if artist == ARTISTS - 1 else "train"
            for own in range(TRACKS_OF_ARTIST):
                # titles with blanks and non-ASCII letters
                title = f"Morceau n° {style * 100 + artist * 10 + own}, été"
                write_clip(out / part / f"{title}.mp3", style, artist, own)
                tables[part].append((title, style + 1))
    rng = random.Random(1)
    for rows in tables.values():
        rng.shuffle(rows)

    def write(name, header, rows):
        with open(out / name, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)

    write("train.csv", ["titre", "id_genre"], tables["train"])
    write("test.csv", ["titre"], [(title,) for title, _ in tables["test"]])
    write(
        "sample_submission.csv",
        ["titre", "id_genre"],
        [(title, 1) for title, _ in sorted(tables["test"])],
    )
    write("truth.csv", ["titre", "id_genre"], tables["test"])


def main():
    out = pathlib.Path(sys.argv[1])
    fma(out / "fma")
    genres(out / "genres_original", out / "genre_lists", 12)
    challenge(out / "challenge")


if __name__ == "__main__":
    main()
