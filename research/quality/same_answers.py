#!/usr/bin/env python3
"""Compares the answers of two programs on one library: same_answers.py OLD NEW LIBRARY [--queries 60]

Of tracks spread over the library it compares ids, similarities, genres and probabilities of
`similar`, `path`, `playlist` and `classify`, to the last digit that JSON has. LIBRARY is
copied, so that neither program sees what the other one wrote. The demo's is that of `voisin demo
--library LIBRARY`; one of 20 000 synthetic tracks is made by research/speed/bench_scale.py --sizes
20000 --keep DIR. Exits with 1 if an answer differs.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

COMPARED = {"id", "similarity", "nearness", "genre", "probability", "cluster", "fit"}


def compared(value):
    """The compared fields of an answer, in their order."""
    if isinstance(value, dict):
        for key, part in value.items():
            if isinstance(part, dict | list):
                yield from compared(part)
            elif key in COMPARED:
                yield key, part
    elif isinstance(value, list):
        for part in value:
            yield from compared(part)


def run(program, library, words):
    command = [program, "--library", library, *words, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        return done.returncode, list(compared(json.loads(done.stdout)))
    except json.JSONDecodeError:
        return done.returncode, []


def commands(ids):
    yield ["clusters"]
    for seed, other in zip(ids, ids[1:] + ids[:1], strict=True):
        yield ["similar", f"id:{seed}", "-l", "20"]
        yield ["similar", f"id:{seed}", f"id:{other}", "--feel", "0.5"]
        yield ["path", f"id:{seed}", f"id:{other}"]
        yield ["playlist", f"id:{seed}", "-l", "20"]
        yield ["classify", f"id:{seed}"]


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("old")
    p.add_argument("new")
    p.add_argument("library", type=pathlib.Path)
    p.add_argument("--queries", type=int, default=60)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copies = []
        for name in ("old", "new"):
            copies.append(str(pathlib.Path(folder, name)))
            shutil.copytree(a.library, copies[-1])
        status, tracks = run(a.old, copies[0], ["list"])
        ids = [value for key, value in tracks if key == "id"]
        assert status == 0 and ids, "the library has no tracks"
        differing = answers = fields = 0
        for words in commands(ids[:: max(1, len(ids) // a.queries)][: a.queries]):
            old = run(a.old, copies[0], words)
            new = run(a.new, copies[1], words)
            answers += 1
            fields += len(old[1])
            if old != new:
                differing += 1
                at = next(
                    (pair for pair in zip(old[1], new[1], strict=False) if pair[0] != pair[1]), None
                )
                print(f"differs: {' '.join(words)}: {old[0]}, {new[0]}: {at}")
        print(f"{differing} of {answers} answers differ ({fields} fields compared)")
        sys.exit(differing > 0)


if __name__ == "__main__":
    main()
