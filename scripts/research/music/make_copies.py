#!/usr/bin/env python3
"""Makes other encodings of tracks, to look for as duplicates: scripts/research/music/make_copies.py SOURCE
OUT

Of each MP3 below SOURCE, OUT/N-original.mp3 is a copy; beside it lie 64 kbit/s MP3, Opus 48, FLAC,
a softer one (6 dB) and one without its first 2 s. Needs ffmpeg.
"""

import pathlib
import shutil
import subprocess
import sys

KINDS = {
    "low.mp3": ["-b:a", "64k"],
    "low.opus": ["-c:a", "libopus", "-b:a", "48k"],
    "same.flac": [],
    "soft.mp3": ["-filter:a", "volume=-6dB", "-b:a", "128k"],
    "cut.mp3": ["-filter:a", "atrim=start=2,asetpts=PTS-STARTPTS", "-b:a", "128k"],
}


def make(sources, out):
    """The folder, made once."""
    if not out.exists():
        out.mkdir(parents=True)
        for number, source in enumerate(sources):
            command = ["ffmpeg", "-nostdin", "-v", "error", "-i", source]
            for kind, options in KINDS.items():
                command += ["-map", "0:a:0", "-map_metadata", "0", *options]
                command.append(out / f"{number}-{kind}")
            subprocess.run(command, check=True)
            shutil.copy(source, out / f"{number}-original.mp3")
    return out


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    make(sorted(pathlib.Path(sys.argv[1]).rglob("*.mp3")), pathlib.Path(sys.argv[2]))
