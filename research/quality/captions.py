#!/usr/bin/env python3
"""A thousand captions of music, of voisin's own words and genres: the reference for
similarities of sentences (`voisin find` in a library whose model embeds sentences).

    python research/quality/captions.py > crates/core/voisin-encoder/src/clap/captions.txt
"""

import pathlib
import random

ROOT = pathlib.Path(__file__).resolve().parents[2]
COUNT = 1000
SEED = 66
# Rows of the table of words, by their first word.
MOODS = "calm background atmospheric energetic aggressive happy sad romantic beautiful catchy strange emotional"
SOUNDS = [
    "guitar",
    "piano",
    "electric piano",
    "violin",
    "strings",
    "drums",
    "bass",
    "electric guitar",
    "acoustic guitar",
    "drum machine",
    "saxophone",
    "flute",
    "banjo",
    "accordion",
    "organ",
    "sitar",
    "female voice",
    "male voice",
]
TIMES = ["sixties", "seventies", "eighties", "nineties", "old", "modern"]
PACES = ["fast", "slow"]
FORMS = [
    "{mood} {genre}",
    "{mood} {genre} music with {sound}",
    "{pace} {genre} with {sound}",
    "{time} {genre}",
    "{mood} {sound} music",
    "a {pace}, {mood} {genre} song",
    "{genre} with {sound} and {other}",
    "{mood} music from the {time}",
]


def rows():
    """Words of each row of the table, by its first."""
    table = (ROOT / "crates/core/voisin-engine/src/words.tsv").read_text(encoding="utf-8")
    lines = (line.split("\t") for line in table.splitlines() if line and not line.startswith("#"))
    return {
        line[0].split(",")[0].strip(): [word.strip() for word in line[0].split(",")]
        for line in lines
    }


def main():
    words = rows()
    moods = [word for first in MOODS.split() for word in words[first]]
    sounds = [word for word in SOUNDS if any(word in row for row in words.values())]
    kin = (ROOT / "data/genre-kin.tsv").read_text(encoding="utf-8").splitlines()
    genres = sorted(
        {
            genre.lower()
            for line in kin
            if not line.startswith("#")
            for genre in line.split("\t")
            if genre
        }
    )
    chance = random.Random(SEED)
    captions = {}
    while len(captions) < COUNT:
        sound, other = chance.sample(sounds, 2)
        parts = {
            "mood": chance.choice(moods),
            "genre": chance.choice(genres),
            "sound": sound,
            "other": other,
            "time": chance.choice(TIMES),
            "pace": chance.choice(PACES),
        }
        captions[chance.choice(FORMS).format(**parts)] = None
    print("\n".join(captions))


if __name__ == "__main__":
    main()
