#!/usr/bin/env python3
"""Tests scripts/ray_embed.py on a real cluster of three nodes on this machine, one of which is
killed in the middle.

    cargo build --release --features parquet && python scripts/test_ray_embed.py [--binary target/release/voisin]

The vectors must equal those of one process bit for bit, no track may be duplicated, and failures
must be stored. A program that crashes on one file, and one that writes nothing, fail only their
batches and are reported. Needs ray and pyarrow.
"""

import argparse
import collections
import glob
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pyarrow.parquet as pq
from ray.cluster_utils import Cluster

ROOT = pathlib.Path(__file__).resolve().parent.parent
p = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
p.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/voisin")
binary = p.parse_args().binary.resolve()


def rows(folder, kind):
    """Path to content id, bits of vector and windows, and reason of failure, of every row."""
    found = collections.defaultdict(list)
    for file in glob.glob(f"{folder}/{kind}-*.parquet"):
        table = pq.read_table(file)
        bits = [table["vector"].combine_chunks(), table["windows"].combine_chunks()]
        for i, row in enumerate(table.select(["path", "content", "failure"]).to_pylist()):
            found[row["path"]].append(
                (row["content"], row["failure"], *(str(column[i].as_py()) for column in bits))
            )
    return dict(found)


with tempfile.TemporaryDirectory() as work:
    work = pathlib.Path(work)
    music = work / "music"
    music.mkdir()
    for i, file in enumerate(sorted((ROOT / "data/demo").rglob("*.*"))):
        if file.suffix in {".mp3", ".ogg", ".opus", ".m4a", ".wav", ".flac"}:
            shutil.copy(file, music / f"{i}-{file.name}")
    (music / "bad.mp3").write_bytes(b"no audio at all")
    files = sorted(music.iterdir())
    single = subprocess.run(
        [binary, "embed", music, "--format", "parquet", "--quiet", "--output", work / "one"]
    )
    assert single.returncode == 1, single

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    others = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    command = [
        sys.executable,
        ROOT / "scripts/ray_embed.py",
        "--address",
        cluster.address,
        "--batch",
        "3",
        "--binary",
        binary,
        "--output",
        work / "many",
        music,
    ]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    killed = False
    for line in run.stderr:
        if "batches" in line and not killed:
            cluster.remove_node(others[0], allow_graceful=False)
            killed = True
    assert run.wait() == 1, run.returncode
    assert killed, "the run was over before a node could be killed"
    for kind in ("tracks", "failures"):
        one, many = rows(work / "one", kind), rows(work / "many", kind)
        assert all(len(found) == 1 for found in many.values()), "a track is duplicated"
        assert one == many, f"{kind}: {len(one)} of one process, {len(many)} of the cluster"
    assert (
        len(rows(work / "many", "tracks")) == len(files) - 1
        and len(rows(work / "many", "failures")) == 1
    )
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0 and "0 files and 0 failures" in again.stdout, again
    assert not list((work / "many").glob(".voisin-ray-*")), "temporary files are left"

    dies = work / "dies"
    dies.write_text(
        f'#!/bin/bash\nlist=$(mktemp)\ncat > $list\ngrep -q bad.mp3 $list && kill -9 $$\n{binary} "$@" < $list\n'
    )
    for program, text, embedded in [
        (dies, "ended with -9", range(len(files) - 3, len(files))),
        ("/bin/true", "each of 3 files, found 0", [0]),
    ]:
        os.chmod(dies, 0o755)
        output = work / f"of-{pathlib.Path(program).name}"
        wrong = [
            *command[: command.index("--binary")],
            "--binary",
            program,
            "--output",
            output,
            music,
        ]
        run = subprocess.run(wrong, capture_output=True, text=True)
        assert run.returncode == 2 and text in run.stderr and "run this again" in run.stdout, run
        assert len(rows(output, "tracks")) in embedded, run
        assert not list(output.glob(".voisin-ray-*")), "temporary files are left"
    cluster.shutdown()
print(f"{len(files)} files on three nodes, one killed: as one process, bit for bit")
