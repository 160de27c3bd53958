#!/usr/bin/env python3
"""Figures of tempo, key and loudness: research/quality/descriptor_figures.py FOLDER [--voisin
PROGRAM] [--clips N] [--all] [--agreement]

Renders grooves of known tempo and key (research/music/make_grooves.py) into FOLDER, measures them
with `voisin add`, and prints how often the values are right. Only every second style of MMA's
library, by name, is rendered: the others were used to choose the method. --all renders those too.
The loudness of all files in FOLDER is compared with ffmpeg's ebur128.

Tempo: within 4 % of the true one; "octave": or of half or twice of it. Key: exactly the same, and
MIREX's score (a fifth away 0.5, the relative key 0.3, the same tonic 0.2). "Chords": the key that
the same profiles give for the notes of the chords themselves. The progressions are random, so this
is an upper bound for their keys.

--agreement compares with other estimators on the files in FOLDER instead, by the middle 30 s: with
the tempo on which two of Essentia's RhythmExtractor2013 and PercivalBpmEstimator and librosa's beat
tracker agree within 4 %, and with the key on which three of Essentia's profiles edma, bgate,
krumhansl and temperley agree. This is no ground truth: two of the three favour about 120 beats a
minute, so figures against Percival's alone, whose octaves were fitted to human annotations, are
printed as well.

Needs Python's standard library and the requirements of make_grooves.py; without ffmpeg the loudness
is left out. --agreement needs essentia (2.1b6.dev1389), librosa (0.11.0) and numpy.
"""

import argparse
import itertools
import multiprocessing
import pathlib
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "music"))
import make_grooves  # noqa: E402

PROFILES = [
    [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
    [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
]
CHORDS = {
    "m": (0, 3, 7),
    "m7": (0, 3, 7, 10),
    "m9": (0, 3, 7, 10, 14),
    "": (0, 4, 7),
    "7": (0, 4, 7, 10),
    "M7": (0, 4, 7, 11),
    "6": (0, 4, 7, 9),
    "sus4": (0, 5, 7),
}


def truth(style, groove, number, seed):
    """Tempo, key (0 to 11 from C major, 12 to 23 from C minor) and text of a clip, as make_grooves
    drew them.
    """
    text = make_grooves.script(groove, random.Random(f"{seed} {style} {number}"))
    again = random.Random(f"{seed} {style} {number}")
    key, scale = (
        again.randrange(12),
        again.choice([make_grooves.MAJOR, make_grooves.MAJOR, make_grooves.MINOR]),
    )
    return (
        int(re.search(r"^Tempo (\d+)$", text, re.M)[1]),
        key + 12 * (scale is make_grooves.MINOR),
        text,
    )


def key_of_chords(text):
    chroma = [0.0] * 12
    for root, kind in re.findall(r"^\d+ ([A-G]b?)(\S*)$", text, re.M):
        for step in (0, *CHORDS[kind]):
            chroma[(make_grooves.NOTES.index(root) + step) % 12] += 1

    def fit(key):
        profile = [PROFILES[key // 12][(pitch - key) % 12] for pitch in range(12)]
        a, b = ([x - sum(values) / 12 for x in values] for values in (chroma, profile))
        norm = (sum(x * x for x in a) * sum(x * x for x in b)) ** 0.5
        return sum(x * y for x, y in zip(a, b, strict=False)) / norm if norm else 0.0

    return max(range(24), key=fit)


def mirex(found, true):
    if found is None:
        return 0.0
    if found == true:
        return 1.0
    same_mode = found // 12 == true // 12
    if same_mode and (found - true) % 12 in (5, 7):
        return 0.5
    relative = (true + 9) % 12 if true < 12 else (true + 3) % 12
    if not same_mode and found % 12 == relative:
        return 0.3
    return 0.2 if found % 12 == true % 12 else 0.0


def measured(program, folder, depth):
    """Tempo, key, loudness and whether it is exact, by path."""
    with tempfile.TemporaryDirectory() as library:
        subprocess.run(
            [program, "--quiet", "--library", library, "add", folder, "--descriptors", depth],
            check=True,
        )
        database = sqlite3.connect(f"file:{library}/voisin.db?mode=ro", uri=True)
        rows = database.execute(
            "SELECT f.path, d.tempo, d.key, d.loudness, d.loudness_is_exact FROM files f "
            "JOIN descriptors d ON d.track = f.track"
        ).fetchall()
        database.close()
    return {pathlib.Path(path.decode()): row for path, *row in rows}


def estimates(path):
    """Three tempos, Percival's second, and four keys as others estimate them; None where they
    cannot.
    """
    import essentia
    import librosa

    essentia.log.infoActive = essentia.log.warningActive = False
    import essentia.standard as es

    try:
        sound = es.MonoLoader(filename=str(path), sampleRate=44100)()
        first = max(0, len(sound) // 2 - 15 * 44100)
        sound = sound[first : first + 30 * 44100]
        halved = librosa.resample(sound, orig_sr=44100, target_sr=22050)
        tempos = [
            es.RhythmExtractor2013()(sound)[0],
            es.PercivalBpmEstimator()(sound),
            float(librosa.beat.beat_track(y=halved, sr=22050)[0].item()),
        ]
        keys = [
            es.KeyExtractor(profileType=profile)(sound)[:2]
            for profile in ("edma", "bgate", "krumhansl", "temperley")
        ]
    except RuntimeError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return None
    notes = {note: number for number, note in enumerate(make_grooves.NOTES)} | {
        "C#": 1,
        "D#": 3,
        "F#": 6,
        "G#": 8,
        "A#": 10,
    }
    return tempos, [notes[note] + 12 * (scale == "minor") for note, scale in keys]


def error_kind(found, true):
    if not found:
        return "none"
    kinds = {"right": 1, "doubled": 2, "halved": 0.5}
    return next(
        (kind for kind, times in kinds.items() if abs(found / (true * times) - 1) <= 0.04), "other"
    )


def agreement_figures(program, folder):
    found = measured(program, folder, "fast")
    with multiprocessing.Pool() as pool:
        others = [
            (found[path], other)
            for path, other in zip(found, pool.map(estimates, found, chunksize=1), strict=False)
            if other
        ]
    agreed, percival, keys = [], [], []
    for (tempo, key, *_), (tempos, estimated_keys) in others:
        pairs = [
            (max(a, b) / min(a, b), (a * b) ** 0.5)
            for a, b in itertools.combinations(tempos, 2)
            if min(a, b) > 0
        ]
        ratio, bpm = min(pairs, default=(2, 0))
        if ratio <= 1.04:
            agreed.append(error_kind(tempo, bpm))
        if tempos[1] > 0:
            percival.append(error_kind(tempo, tempos[1]))
        most = max(estimated_keys, key=estimated_keys.count)
        if estimated_keys.count(most) >= 3:
            keys.append(mirex(key, most))
    for name, kinds in (("agreed tempo", agreed), ("Percival's tempo", percival)):
        shares = {
            kind: 100 * kinds.count(kind) / max(len(kinds), 1)
            for kind in ("right", "doubled", "halved", "other", "none")
        }
        octave = shares["right"] + shares["doubled"] + shares["halved"]
        print(
            f"{name}: {len(others) - len(kinds)} of {len(others)} without; "
            + ", ".join(f"{kind} {share:.1f} %" for kind, share in shares.items())
            + f"; with octaves {octave:.1f} %"
        )
    print(
        f"agreed key: {len(others) - len(keys)} of {len(others)} without; MIREX {sum(keys) / max(len(keys), 1):.3f}, "
        f"exact {100 * keys.count(1.0) / max(len(keys), 1):.1f} %"
    )


def ebur128(path):
    """ffmpeg's integrated loudness, LUFS; None for silence."""
    command = [
        "ffmpeg",
        "-nostdin",
        "-nostats",
        "-i",
        path,
        "-filter_complex",
        "ebur128=framelog=verbose",
        "-f",
        "null",
        "-",
    ]
    log = subprocess.run(command, capture_output=True, text=True, errors="replace").stderr
    found = re.findall(r"I:\s+(-?[\d.]+) LUFS", log)
    return float(found[-1]) if found and float(found[-1]) > -70 else None


def loudness_figures(program, folder):
    for depth in ("full", "fast"):
        errors = []
        for path, (_, _, loudness, exact) in measured(program, folder, depth).items():
            expected = ebur128(path)
            if expected is not None and loudness is not None and (depth == "full" or not exact):
                errors.append(abs(loudness - expected))
        if errors:
            errors.sort()
            within = 0.1 if depth == "full" else 1.0
            share = sum(error <= within + 0.05 for error in errors) / len(errors)
            print(
                f"loudness, {depth}: {len(errors)} files, {100 * share:.1f} % within {within} LU of ffmpeg's "
                f"(which rounds to 0.1), median {errors[len(errors) // 2]:.2f}, worst {errors[-1]:.2f}"
            )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--voisin", default="target/release/voisin")
    parser.add_argument("--clips", type=int, default=2, help="clips per style (2)")
    parser.add_argument("--seed", default="d1")
    parser.add_argument(
        "--all", action="store_true", help="also the styles that were used to choose the method"
    )
    parser.add_argument(
        "--loudness-only", action="store_true", help="compare the loudness of the files in FOLDER"
    )
    parser.add_argument(
        "--agreement", action="store_true", help="compare with other estimators on FOLDER"
    )
    parser.add_argument(
        "--library", type=pathlib.Path, default=pathlib.Path("/usr/share/mma/lib/stdlib")
    )
    options = parser.parse_args()
    folder = options.folder.resolve()
    if options.agreement:
        agreement_figures(options.voisin, folder)
        return
    if not options.loudness_only:
        fonts = sorted({p.resolve() for p in pathlib.Path("/usr/share/sounds/sf2").glob("*.sf2")})
        styles = make_grooves.grooves(options.library)
        names = sorted(styles)[0 if options.all else 1 :: 1 if options.all else 2]
        true = {}
        for style in names:
            for number in range(options.clips):
                groove = styles[style][number % len(styles[style])]
                failure = make_grooves.render(
                    folder, style, groove, number, options.seed, fonts, make_grooves.BARS
                )
                if failure:
                    print(failure, file=sys.stderr)
                    continue
                path = folder / style / f"{style}-{number:03}.ogg"
                true[path] = truth(style, groove, number, options.seed)
        found = measured(options.voisin, folder, "fast")
        counts = dict.fromkeys(["tempo", "octave", "key", "MIREX", "chords"], 0.0)
        for path, (tempo, key, text) in true.items():
            bpm, found_key, *_ = found.get(path, (None, None))
            near = [
                bpm is not None and abs(bpm / (tempo * times) - 1) <= 0.04 for times in (1, 2, 0.5)
            ]
            counts["tempo"] += near[0]
            counts["octave"] += any(near)
            counts["key"] += found_key == key
            counts["MIREX"] += mirex(found_key, key)
            counts["chords"] += key_of_chords(text) == key
        shares = ", ".join(
            f"{name} {100 * count / len(true):.1f} %" for name, count in counts.items()
        )
        print(f"{len(true)} clips of {len(names)} styles: {shares}")
    if shutil.which("ffmpeg"):
        loudness_figures(options.voisin, folder)
    else:
        print("ffmpeg is not here: no figures of loudness")


if __name__ == "__main__":
    main()
