#!/usr/bin/env python3
"""Embeds audio files on a Ray cluster and writes Parquet files (docs/parquet.md).

    find /mnt/music -name '*.flac' | python scripts/ray_embed.py --output /mnt/vectors [--address auto]
    python scripts/ray_embed.py --output /mnt/vectors --gpus 1 /mnt/music

Each task gives a batch of paths to the program `voisin` (built with the feature `parquet`), which
must be on every node, as must the music and the output folder under the same paths. A batch writes
tracks-*.parquet and failures-*.parquet atomically, under names that depend only on its paths: a
task that is repeated, for example after the loss of its node, replaces its own files, so that no
track is duplicated. Files that the folder has with the same size and time are skipped. A batch
whose program crashes, or returns no result for some file, is tried three times; then it is
reported, and the others continue. --embed needs an equals sign before its value:
--embed='--no-windows'.
Exit code: 0 success, 1 some files failed, 2 some batches failed. Needs ray and pyarrow.
"""

import argparse
import glob
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import uuid

AUDIO = {
    ".mp3",
    ".m4a",
    ".mp4",
    ".aac",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".wav",
    ".aif",
    ".aiff",
    ".caf",
    ".mkv",
    ".mka",
    ".webm",
}
ATTEMPTS = 3


def arguments():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument(
        "paths",
        nargs="*",
        help="files and folders [default: a list on standard input, one path a line]",
    )
    p.add_argument("--output", required=True, type=pathlib.Path)
    p.add_argument("--address", help="address of the cluster [default: a cluster on this machine]")
    p.add_argument(
        "--batch", type=int, default=200, help="audio files of a task and of a Parquet file"
    )
    p.add_argument("--cpus", type=float, default=1, help="cores of a task")
    p.add_argument(
        "--gpus", type=float, default=0, help="GPUs of a task; if any, the network runs on them"
    )
    p.add_argument("--binary", default="voisin")
    p.add_argument(
        "--embed",
        default="",
        help="more options of voisin embed, such as '--no-windows --model musicnn-msd'",
    )
    return p.parse_args()


def files_below(paths):
    for path in paths:
        if os.path.isdir(path):
            for folder, _, names in sorted(os.walk(path)):
                yield from (
                    os.path.join(folder, name)
                    for name in sorted(names)
                    if pathlib.Path(name).suffix.lower() in AUDIO
                )
        else:
            yield path


def known_files(output):
    """Size and time of each file in the Parquet files, without those to be retried."""
    import pyarrow.parquet as pq

    known = {}
    for file in glob.glob(f"{glob.escape(str(output))}/*.parquet"):
        columns = ["path", "path_bytes", "size", "mtime_ns", "transient"]
        for row in pq.read_table(file, columns=columns).to_pylist():
            if not row["transient"]:
                known[row["path_bytes"] or os.fsencode(row["path"])] = row["size"], row["mtime_ns"]
    return known


def embed_batch(batch, output, run, binary, options, threads):
    """Embeds a batch of paths; returns the numbers of tracks and failures, or the errors of all
    attempts.
    """
    for _ in range(ATTEMPTS):
        try:
            return embed_once(batch, output, run, binary, options, threads), None
        except (OSError, RuntimeError) as error:
            problem = str(error)
    return (0, 0), problem


def embed_once(batch, output, run, binary, options, threads):
    """Runs the program on a batch of paths and renames its files; returns the numbers of tracks and
    failures.
    """
    import pyarrow.parquet as pq

    name = hashlib.sha256(b"\0".join(batch)).hexdigest()[:16]
    with tempfile.TemporaryDirectory(prefix=f".voisin-ray-{run}-", dir=output) as scratch:
        command = [
            binary,
            "embed",
            "-",
            "--format",
            "parquet",
            "--per-file",
            str(len(batch)),
            "--quiet",
            "--threads",
            str(threads),
            "--output",
            scratch,
            *options,
        ]
        done = subprocess.run(command, input=b"\0".join(batch) + b"\0", capture_output=True)
        if done.returncode not in (0, 1):
            raise RuntimeError(
                f"{binary} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}"
            )
        made = {
            kind: glob.glob(f"{glob.escape(scratch)}/{kind}-*.parquet")
            for kind in ("tracks", "failures")
        }
        counts = [sum(pq.read_metadata(file).num_rows for file in files) for files in made.values()]
        if sum(counts) < len(batch) or any(len(files) > 1 for files in made.values()):
            raise RuntimeError(
                f"{binary}: expected a track or a failure for each of {len(batch)} files, found {sum(counts)}"
            )
        for kind, files in made.items():
            target = output / f"{kind}-{name}.parquet"
            if files:
                os.replace(files[0], target)
            else:
                target.unlink(missing_ok=True)
    return counts


def main():
    a = arguments()
    import ray

    a.output.mkdir(parents=True, exist_ok=True)
    listed = a.paths if a.paths else (line.rstrip(b"\n") for line in sys.stdin.buffer)
    known, todo = known_files(a.output), []
    for path in sorted({os.path.abspath(os.fsencode(file)) for file in files_below(listed)}):
        try:
            state = os.stat(path)
        except OSError:
            state = None
        if state is None or known.get(path) != (state.st_size, state.st_mtime_ns):
            todo.append(path)
    options = a.embed.split() + (["--device", "cuda"] if a.gpus else [])
    ray.init(address=a.address, log_to_driver=False)
    # The batches of a lost node are retried elsewhere without limit.
    task = ray.remote(embed_batch).options(
        num_cpus=a.cpus, num_gpus=a.gpus, max_retries=-1, retry_exceptions=False
    )
    threads = max(1, int(a.cpus))
    run = uuid.uuid4().hex[:8]
    waiting = [
        task.remote(todo[at : at + a.batch], a.output.absolute(), run, a.binary, options, threads)
        for at in range(0, len(todo), a.batch)
    ]
    tracks = failures = done = lost = 0
    while waiting:
        ready, waiting = ray.wait(waiting)
        for (t, f), problem in ray.get(ready):
            tracks, failures, done = tracks + t, failures + f, done + 1
            if problem:
                lost += 1
                print(f"a batch failed {ATTEMPTS} times: {problem}", file=sys.stderr, flush=True)
        print(
            f"{done} batches, {len(waiting)} to go: {tracks} files, {failures} failures",
            file=sys.stderr,
            flush=True,
        )
    for left in glob.glob(f"{glob.escape(str(a.output))}/.voisin-ray-{run}-*"):
        shutil.rmtree(left, ignore_errors=True)
    retry = f"; {lost} batches failed: run this again" if lost else ""
    print(
        f"{tracks} files and {failures} failures in {a.output}, {len(known)} there already{retry}"
    )
    return 2 if lost else 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
