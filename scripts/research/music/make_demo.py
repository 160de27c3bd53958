#!/usr/bin/env python3
"""Makes data/demo from the free music that scripts/research/models/fetch_corpus.py unpacked.

    scripts/research/music/make_demo.py CORPUS [--again]

Reads scripts/research/music/demo_tracks.tsv, cuts one excerpt of each track, fades its ends, encodes it in
the format of its row, writes its tags, and writes data/demo/ATTRIBUTION.md with licence, author and
source of each. Existing excerpts are kept, so that tests' references stay valid, unless `--again`
is given. Column `part` names the folder: `library` and `songs` are added by the demo with
a genre, `punk` without one, `held-out` is classified. Needs ffmpeg (5.1 was used) with libmp3lame,
libvorbis and libopus.
"""

import argparse
import csv
import pathlib
import re
import subprocess
import unicodedata

HERE = pathlib.Path(__file__).resolve().parent
ENCODERS = {
    "mp3": ["-c:a", "libmp3lame", "-b:a", "112k", "-id3v2_version", "4"],
    "ogg": ["-c:a", "libvorbis", "-q:a", "3"],
    "opus": ["-c:a", "libopus", "-b:a", "80k"],
    "m4a": ["-c:a", "aac", "-b:a", "112k", "-movflags", "+faststart"],
    "flac": [
        "-c:a",
        "flac",
        "-compression_level",
        "8",
        "-ac",
        "1",
        "-ar",
        "32000",
        "-sample_fmt",
        "s16",
    ],
    "wav": ["-c:a", "pcm_s16le", "-ac", "1", "-ar", "22050"],
}
LICENCES = {
    "MIT": "https://spdx.org/licenses/MIT.html",
    "CC BY 3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC BY-SA 3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "CC0 1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "GPL-2.0": "https://www.gnu.org/licenses/old-licenses/gpl-2.0.html",
    "GPL-2.0-or-later": "https://www.gnu.org/licenses/old-licenses/gpl-2.0.html",
    "GPL-3.0-or-later": "https://www.gnu.org/licenses/gpl-3.0.html",
}
# The songs are shorter, so that the demo stays one of a few seconds.
SECONDS = {"library": 14.0, "held-out": 14.0, "songs": 10.0, "punk": 10.0}
WORDS = """\
Excerpts of free music, cut, faded and encoded anew by `scripts/research/music/make_demo.py` for voisin's
demo and tests. Each keeps the licence of its original; the sources are files of packages of Debian
(main), whose `copyright` files state author and licence. Genres are the project's own, by title,
credits and sound. None of this music is part of the program.

The punk is rendered, not recorded: no free punk was found in Debian. `scripts/research/music/make_punk.py`
makes three pieces with the package mma (drums) and the SoundFont of fluid-soundfont-gm; nobody
sings."""


def slug(text):
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def source(corpus, package, file):
    found = [
        path for path in sorted((corpus / package).rglob("*.*")) if str(path).endswith("/" + file)
    ]
    if len(found) != 1:
        raise SystemExit(f"{package}: expected one file ending in {file}, found {len(found)}")
    return found[0]


def sources_of(attribution):
    """The sources that an earlier run wrote down, by the excerpt's file."""
    if not attribution.exists():
        return {}
    rows = [line.strip("|\n").split(" | ") for line in attribution.open(encoding="utf-8")]
    return {
        row[0].strip(): row[-1].split("`")[1] for row in rows if "`" in row[-1] and len(row) == 5
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("--again", action="store_true")
    arguments = parser.parse_args()
    demo = HERE.parents[2] / "data" / "demo"
    made = {} if arguments.again else sources_of(demo / "ATTRIBUTION.md")
    lines = []
    with open(HERE / "demo_tracks.tsv", newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    for row in rows:
        folder = demo / row["part"]
        if row["part"] in ("library", "songs"):
            folder /= slug(row["genre"])
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{slug(row['artist'])}-{slug(row['title'])}.{row['format']}"
        name = str(target.relative_to(demo))
        if name in made and target.exists():
            lines.append((name, row, made[name]))
            continue
        origin = source(arguments.corpus, row["package"], row["file"])
        tags = {
            "title": row["title"],
            "artist": row["artist"],
            "genre": "" if row["part"] == "punk" else row["genre"],
            "copyright": row["licence"],
            "comment": f"Excerpt; see ATTRIBUTION.md ({row['package']})",
        }
        metadata = [part for key, value in tags.items() for part in ("-metadata", f"{key}={value}")]
        seconds = SECONDS[row["part"]]
        fade = f"afade=t=in:d=0.2,afade=t=out:st={seconds - 0.3}:d=0.3"
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-ss",
            row["start"],
            "-t",
            str(seconds),
            "-i",
            str(origin),
        ]
        command += [
            "-map",
            "0:a",
            "-map_metadata",
            "-1",
            "-fflags",
            "+bitexact",
            "-flags:a",
            "+bitexact",
            "-af",
            fade,
        ]
        command += metadata + ENCODERS[row["format"]] + [str(target)]
        subprocess.run(command, check=True)
        inner = str(origin.relative_to(arguments.corpus / row["package"]))
        lines.append((name, row, inner))
    text = ["# The demo's music", "", WORDS]
    text += [
        "",
        "Licences: " + ", ".join(f"[{name}]({url})" for name, url in LICENCES.items()) + ".",
        "",
    ]
    text += [
        "| file | title | author | licence | source: Debian package and file |",
        "|---|---|---|---|---|",
    ]
    for name, row, inner in sorted(lines, key=lambda line: line[0]):
        text.append(
            f"| {name} | {row['title']} | {row['artist']} | {row['licence']} | {row['package']}: `{inner}` |"
        )
    (demo / "ATTRIBUTION.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    total = sum(path.stat().st_size for path in demo.rglob("*") if path.is_file())
    print(f"{len(lines)} excerpts, {total / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
