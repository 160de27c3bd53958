#!/usr/bin/env python3
"""End to end, from a folder to a searchable library, with OpenL3 (seeded random weights: speed does
not depend on them).

    scripts/research/speed/bench_road.py FOLDER                       # tracks an hour, peak memory
    scripts/research/speed/bench_road.py FOLDER --model musicnn-msd   # the same with a model of voisin's
    scripts/research/speed/bench_road.py FOLDER --rival ./bliss-road  # in turns with bliss-audio on the same files and threads
    scripts/research/speed/bench_road.py FOLDER --stages              # a track's CPU time by stage, sampled by Debian's linux-perf
                                                       # (cargo rustc --release --bin voisin -- -C
                                                       strip=none)
    scripts/research/speed/bench_road.py FOLDER --scaling             # cost against tracks, windows and length (needs ffmpeg)

The rival is any program that takes a folder and a number of threads and analyses all MP3 files
below it. bliss-audio's is a separate crate, outside this one, with bliss-audio 0.13 built without
default features and with "symphonia-all". With a third argument it writes path and features of each
file, tab-separated, for scripts/research/quality/rival_quality.py; the features are scaled so that their
Euclidean distance is bliss-audio's own:

    use bliss_audio::{AnalysisOptions, FeaturesVersion, decoder::{Decoder,
    symphonia::SymphoniaDecoder}}; use std::io::Write;

    fn main() {
        let mut args = std::env::args().skip(1);
        let mut folders = vec![std::path::PathBuf::from(args.next().unwrap())];
        let number_cores = args.next().unwrap().parse().unwrap();
        let mut out = args.next().map(|path| std::fs::File::create(path).unwrap());
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|ending| ending == "mp3") {
                    files.push(path);
                }
            }
        }
        let weights = FeaturesVersion::LATEST.feature_weights();
        let options = AnalysisOptions { number_cores, ..AnalysisOptions::default() };
        for (path, song) in SymphoniaDecoder::analyze_paths_with_options(files, options) {
            let song = song.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if let Some(out) = &mut out {
                write!(out, "{}", path.display()).unwrap();
                for (i, value) in song.analysis.as_vec().iter().enumerate() {
                    write!(out, "\t{}", value * weights[[i, i]].sqrt()).unwrap();
                }
                writeln!(out).unwrap();
            }
        }
    }

Ratios are given in wall-clock time and, for a shared machine, in CPU time. Needs numpy and
safetensors.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

import numpy as np
from safetensors.numpy import save_file

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--voisin", default="target/release/voisin")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--rival")
parser.add_argument(
    "--model", help="a model's name or file (default: OpenL3 with seeded random weights)"
)
parser.add_argument("--stages", action="store_true")
parser.add_argument("--scaling", action="store_true")
parser.add_argument("options", nargs="*", help="more options of `voisin add`, after --")
args = parser.parse_args()
work = pathlib.Path(tempfile.mkdtemp())


def seeded_weights(path):
    """An OpenL3 mel128/512 with the parameter names of torchopenl3."""
    random, before, tensors = np.random.default_rng(1), 1, {}

    def norm(index, channels, mean, variance):
        for part, low, high in (
            ("weight", 0.7, 1.3),
            ("bias", -0.2, 0.2),
            ("running_mean", mean - 0.2, mean + 0.2),
            ("running_var", 0.7 * variance, 1.3 * variance),
        ):
            tensors[f"batch_normalization_{index}.{part}"] = random.uniform(
                low, high, channels
            ).astype(np.float32)

    norm(1, 1, -40, 400)
    for i, channels in enumerate((64, 64, 128, 128, 256, 256, 512, 512), 1):
        name = "audio_embedding_layer" if i == 8 else f"conv2d_{i}"
        scale = (2 / (9 * before)) ** 0.5
        tensors[f"{name}.weight"] = (
            scale * random.standard_normal((channels, before, 3, 3))
        ).astype(np.float32)
        tensors[f"{name}.bias"] = random.uniform(-0.1, 0.1, channels).astype(np.float32)
        if i < 8:
            norm(i + 1, channels, 0, 1)
        before = channels
    save_file(tensors, path)


def timed(command):
    """Seconds, processor seconds, peak resident memory in MB and standard output of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command}: {err.decode()}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out


def add(folder, *options, under=()):
    """From the folder to the first answer, in a library of its own: seconds, processor seconds, MB,
    number of tracks.
    """
    library = work / "library"
    shutil.rmtree(library, ignore_errors=True)
    shared = ["--library", library, "--model", model, "--threads", args.threads, "--device", "cpu"]
    command = [
        *under,
        args.voisin,
        "add",
        folder,
        *shared,
        "--format",
        "json",
        *args.options,
        *options,
    ]
    seconds, processor, memory, out = timed(command)
    summary = json.loads(out)
    assert summary["failed"] == 0, summary
    if summary["added"] > 1:
        track = next(path for path in sorted(folder.iterdir()) if path.is_file())
        more, more_processor, _, answer = timed(
            [args.voisin, "similar", track, *shared, "--format", "json"]
        )
        assert json.loads(answer)["neighbours"], answer
        seconds += more
        processor += more_processor
    return seconds, processor, memory, summary["added"]


# What the functions of a stage are named. A sample counts for the innermost function that has such
# a name.
STAGES = {
    "decoding": r"Decoder::decode",
    "resampling": r"Resampler::block",
    "key": r"KeyFinder",
    "tempo": r"voisin_features::tempo",
    "loudness": r"LoudnessMeter|ebur128",
    "mel bands": r"MelFrontEnd",
    "network, as OpenL3's": r"cpu::conv",
    "network, MusiCNN": r"cpu::musicnn",
    "digests": r"blake3|sha2",
    "storing": r"voisin_library|rusqlite",
    "reading, windows": r"voisin_audio|embedder",
}


def stages():
    """Where the processor time goes, by samples of the stack; the program needs its symbols."""
    processor = []
    for _ in range(args.rounds):
        _, seconds, _, tracks = add(args.folder)
        processor.append(seconds * 1000 / tracks)
    samples = work / "perf.data"
    add(
        args.folder,
        under=("perf", "record", "-q", "-F", "999", "--call-graph", "dwarf,8192", "-o", samples),
    )
    script = ["perf", "script", "-i", samples, "--no-inline", "-F", "ip,sym"]
    stacks = (
        subprocess.run(script, check=True, capture_output=True, text=True)
        .stdout.strip()
        .split("\n\n")
    )
    found = collections.Counter()
    for stack in stacks:
        names = (
            name
            for line in stack.splitlines()
            for name, pattern in STAGES.items()
            if re.search(pattern, line)
        )
        found[next(names, "other")] += 1
    print(
        f"{tracks} tracks, {args.threads} threads; processor time a track, median of {args.rounds} runs, and its stages:"
    )
    print(
        f"  {'all':<20} {statistics.median(processor):7.1f} ms ({min(processor):.0f} to {max(processor):.0f})"
    )
    for name, count in found.most_common():
        share = count / len(stacks)
        print(f"  {name:<20} {share * statistics.median(processor):7.1f} ms  {share:6.1%}")


def scaling():
    files = sorted(path for path in args.folder.iterdir() if path.is_file())
    print("tracks, seconds, seconds a track, peak MB:")
    for count in (len(files) // 4, len(files) // 2, len(files)):
        part = work / f"first{count}"
        part.mkdir()
        for path in files[:count]:
            (part / path.name).symlink_to(path.resolve())
        seconds, _, memory, tracks = add(part)
        print(f"  {tracks:5} {seconds:8.2f} {seconds / tracks:8.3f} {memory:7.0f}", flush=True)
    print("minutes of one track, seconds, seconds a minute, peak MB:")
    for minutes in (4, 16, 64):
        part = work / f"long{minutes}"
        part.mkdir()
        listing = part.with_suffix(".txt")
        listing.write_text("".join(f"file '{path.resolve()}'\n" for path in files[: minutes // 4]))
        subprocess.run(
            [
                "ffmpeg",
                "-v",
                "error",
                "-f",
                "concat",
                "-safe",
                "0",
                "-i",
                listing,
                "-c",
                "copy",
                part / "a.mp3",
            ],
            check=True,
        )
        seconds, _, memory, _ = add(part)
        print(f"  {minutes:5} {seconds:8.2f} {seconds / minutes:8.3f} {memory:7.0f}", flush=True)


model = args.model or work / "seeded.safetensors"
if not args.model:
    seeded_weights(model)
if args.stages:
    stages()
elif args.scaling:
    scaling()
else:
    rows = {"voisin": [], "rival": []}
    for _ in range(args.rounds):
        seconds, processor, memory, tracks = add(args.folder)
        rows["voisin"].append((tracks / seconds * 3600, memory, processor))
        if args.rival:
            seconds, processor, memory, _ = timed([args.rival, args.folder, args.threads])
            rows["rival"].append((tracks / seconds * 3600, memory, processor))
    for name, results in rows.items():
        if results:
            rates, memories, processor = zip(*results, strict=False)
            print(
                f"{name:7} {statistics.median(rates):8.0f} tracks/h ({min(rates):.0f} to {max(rates):.0f}), "
                f"{statistics.median(processor) / tracks:.3f} processor seconds a track, "
                f"peak {max(memories):.0f} MB, {args.threads} threads, {tracks} tracks"
            )
    if args.rival:
        pairs = list(zip(rows["voisin"], rows["rival"], strict=False))
        for name, ratios in (
            ("by the clock", [a[0] / b[0] for a, b in pairs]),
            ("by processor time", [b[2] / a[2] for a, b in pairs]),
        ):
            print(
                f"ratio {name} {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )
shutil.rmtree(work)
