#!/usr/bin/env python3
"""Classification of genres that a library lacks: research/quality/open_set_figures.py VOISIN MUSIC
[--library DIR] [--lot LOT]

VOISIN is the program, MUSIC a folder with one folder of files for each genre and tracks.tsv beside
them (emotify-dev). Each part of PARTS (with --lot, each kin of that lot in
research/quality/kin_styles.tsv, whose folders MUSIC holds) is left out of the labels in turn,
with its kin, and all tracks are classified by neighbours and by a trained head. Printed per part:
the share of the left-out tracks that is predicted as unknown, the share with a genre at 85 % and
more (neighbours: of the votes), and the share of labelled tracks that is predicted as unknown; then
means over the parts left out with their kin. --library: where the library of MUSIC is stored, or
was by an earlier run.

    research/quality/open_set_figures.py --known VOISIN MUSIC

evaluates the probabilities of known genres: each fifth of MUSIC's artists is predicted from the
other four; accuracy, mean probability and Brier score are printed.

    research/quality/open_set_figures.py --fit VOISIN LOT=MUSIC …

refits two constants of crates/core/voisin-genre/src/familiarity.rs on lots: FOREIGN_BELOW, the
greatest hundredth at which at most LOST of the known tracks are unknown; and DOUBT_BELOW, the least
twentieth at which at most NAMED of the foreign tracks get a genre at 85 % and more from a head, if
a kin is left out and if only two genres with twelve tracks each are labelled. Means over the
lots. Run it whenever vectors change, and put its results there. STEADY_BELOW is half of the least spread of the demo's music.
"""

import collections
import csv
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

# Kin; a genre left out without its kin is reported separately.
PARTS = [["classical"], ["electronic"], ["pop", "rock"], ["pop"], ["rock"]]
SURE = 0.85
# A tenth, less the hundredth that a head's own measure of novelty takes (`PredictOptions::novelty`)
# and two that rendered lots do not show.
LOST = 0.07
# Targets, for whole lots and small libraries.
NAMED = 0.05
FOLDS = 5
# Genres and tracks of a small library, and their number per lot.
SMALL, TRACKS, DRAWS = 2, 12, 6


def run(*command):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    return done.stdout


def share(chosen):
    chosen = list(chosen)
    return sum(chosen) / max(1, len(chosen))


def of_lot(music, lot):
    """Genres of a lot's files, and its parts: the genres of each kin."""
    with open(pathlib.Path(__file__).parent / "kin_styles.tsv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["lot"] == lot]
    files = [
        (path.relative_to(music).as_posix(), row["genre"])
        for row in rows
        for path in (music / row["folder"]).iterdir()
    ]
    return dict(files), [
        sorted({row["genre"] for row in rows if row["kin"] == kin})
        for kin in sorted({row["kin"] for row in rows})
    ]


def figures(program, music, library, lot):
    if not any(library.glob("*")):
        run(program, "--library", library, "add", music)
    if lot:
        genres, parts = of_lot(music, lot)
    else:
        parts = PARTS
        with open(music / "tracks.tsv", encoding="utf-8") as file:
            genres = {row["file"]: row["genre"] for row in csv.DictReader(file, delimiter="\t")}
    means = collections.defaultdict(list)
    print("left out         who         unknown  named >= 85 %  known lost")
    for left in parts:
        table = library.parent / "labels.csv"
        known = {name: genre for name, genre in genres.items() if genre not in left}
        table.write_text(
            "path,genre\n" + "".join(f"{name},{genre}\n" for name, genre in known.items()),
            encoding="utf-8",
        )
        run(program, "--library", library, "train", "--label-from", table)
        # The head does not answer for another table, even of the same labels.
        copy = shutil.copyfile(table, table.with_name("copy.csv"))
        for who, more in [("neighbours", ["--label-from", copy]), ("head", [])]:
            answers = json.loads(
                run(program, "--library", library, "classify", "--all", "--format", "json", *more)
            )["items"]
            of = [(genres.get("/".join(pathlib.Path(a["path"]).parts[-2:])), a) for a in answers]
            of = [(genre, a) for genre, a in of if genre]
            foreign = [a for genre, a in of if genre in left]
            own = [a for genre, a in of if genre not in left]
            sure = share(a["genre"] is not None and a["probability"] >= SURE for a in foreign)
            line = (
                share(a["genre"] is None for a in foreign),
                sure,
                share(a["genre"] is None for a in own),
            )
            if not any(set(left) < set(other) for other in parts):
                means[who].append(line)
            print(
                f"{'+'.join(left):16} {who:10} {line[0]:8.3f} {line[1]:14.3f} {line[2]:11.3f}",
                flush=True,
            )
    for who, lines in means.items():
        line = [sum(column) / len(column) for column in zip(*lines, strict=False)]
        print(f"{'mean, with kin':16} {who:10} {line[0]:8.3f} {line[1]:14.3f} {line[2]:11.3f}")


def known_figures(program, music):
    with open(music / "tracks.tsv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    artists = sorted({row["artist"] for row in rows})
    random.Random(7).shuffle(artists)
    fold_of = {artist: at % FOLDS for at, artist in enumerate(artists)}
    answers = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        library = pathlib.Path(folder) / "library"
        table = pathlib.Path(folder) / "labels.csv"
        run(program, "--library", library, "add", music)
        for fold in range(FOLDS):
            lines = [f"{r['file']},{r['genre']}\n" for r in rows if fold_of[r["artist"]] != fold]
            table.write_text("path,genre\n" + "".join(lines), encoding="utf-8")
            held_out = {r["file"]: r["genre"] for r in rows if fold_of[r["artist"]] == fold}
            run(program, "--library", library, "train", "--label-from", table)
            copy = shutil.copyfile(table, table.with_name("copy.csv"))
            for who, more in [("neighbours", ["--label-from", copy]), ("head", [])]:
                for a in json.loads(
                    run(
                        program,
                        "--library",
                        library,
                        "classify",
                        "--all",
                        "--format",
                        "json",
                        *more,
                    )
                )["items"]:
                    genre = held_out.get("/".join(pathlib.Path(a["path"]).parts[-2:]))
                    if genre and a["genre"]:
                        answers[who].append((a["genre"] == genre, a["probability"]))
    for who, pairs in answers.items():
        right = share(is_right for is_right, _ in pairs)
        stated = sum(probability for _, probability in pairs) / len(pairs)
        brier = sum((probability - is_right) ** 2 for is_right, probability in pairs) / len(pairs)
        print(
            f"{who:10} answered {len(pairs)} of {len(rows)}, accuracy {right:.3f},"
            f" stated {stated:.3f}, Brier {brier:.3f}"
        )


def evaluated(program, library, folder, labels, doubt):
    """(file, familiar share, probability before it was lowered) of all tracks."""
    table = folder / "labels.csv"
    table.write_text(
        "path,genre\n" + "".join(f"{name},{genre}\n" for name, genre in labels.items()),
        encoding="utf-8",
    )
    run(program, "--library", library, "train", "--label-from", table)
    for a in json.loads(
        run(program, "--library", library, "classify", "--all", "--format", "json")
    )["items"]:
        share = 1 - a["novelty"]
        yield (
            "/".join(pathlib.Path(a["path"]).parts[-2:]),
            share,
            a["probability"] / min(1, share / doubt),
        )


def fit(program, lots):
    source = pathlib.Path(__file__).parents[2] / "crates/core/voisin-genre/src/familiarity.rs"
    now = float(re.search(r"DOUBT_BELOW: f32 = ([0-9.]+)", source.read_text(encoding="utf-8"))[1])
    draw = random.Random(1)
    # For each set of labels: its lot and size, the evaluations of known and of foreign tracks.
    trials = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for lot, music in lots:
            library = folder / lot
            run(program, "--library", library, "add", music)
            genres, parts = of_lot(pathlib.Path(music), lot)
            for left in parts:
                known = {name: genre for name, genre in genres.items() if genre not in left}
                trials.append(
                    (
                        (lot, "whole"),
                        known,
                        set(genres) - set(known),
                        [*evaluated(program, library, folder, known, now)],
                    )
                )
            for _ in range(DRAWS):
                two = draw.sample([genre for part in parts for genre in part], SMALL)
                near = {genre for part in parts if set(part) & set(two) for genre in part}
                known = {}
                for genre in two:
                    files = sorted(name for name, own in genres.items() if own == genre)
                    known |= dict.fromkeys(draw.sample(files, min(TRACKS, len(files))), genre)
                strangers = {name for name, genre in genres.items() if genre not in near}
                trials.append(
                    (
                        (lot, "small"),
                        known,
                        strangers,
                        [*evaluated(program, library, folder, known, now)],
                    )
                )

    def mean(rule, size, of_known):
        """Share of tracks of a kind that a rule holds for, as the mean of the lots' means."""
        shares = collections.defaultdict(list)
        for (lot, own), known, strangers, tracks in trials:
            if own == size:
                chosen = known if of_known else strangers
                shares[lot].append(share(rule(*track) for name, *track in tracks if name in chosen))
        return sum(sum(own) / len(own) for own in shares.values()) / len(shares)

    def unknown(below):
        return lambda familiar, _: familiar < below

    lost = {step / 100: mean(unknown(step / 100), "whole", True) for step in range(1, 16)}
    foreign = max(below for below, part in lost.items() if part <= LOST)
    print(
        f"FOREIGN_BELOW {foreign:.2f}: known tracks lost {lost[foreign]:.3f}, strangers unknown"
        f" {mean(unknown(foreign), 'whole', False):.3f}, in small libraries {mean(unknown(foreign), 'small', False):.3f}"
    )
    for doubt in [step / 20 for step in range(2, 21)]:

        def sure(familiar, probability, doubt=doubt):
            return (
                not unknown(foreign)(familiar, probability)
                and probability * min(1, familiar / doubt) >= SURE
            )

        named = [mean(sure, size, False) for size in ["whole", "small"]]
        print(
            f"DOUBT_BELOW {doubt:.2f}: named at 85 % and more {named[0]:.3f}, in small libraries {named[1]:.3f};"
            f" known ones {mean(sure, 'whole', True):.3f}"
        )
        if sum(named) / 2 <= NAMED:
            return


def main():
    arguments = sys.argv[1:]
    if len(arguments) == 3 and arguments[0] == "--known":
        return known_figures(arguments[1], pathlib.Path(arguments[2]))
    if len(arguments) > 2 and arguments[0] == "--fit":
        return fit(arguments[1], [argument.split("=", 1) for argument in arguments[2:]])
    options = dict(zip(arguments[2::2], arguments[3::2], strict=False))
    if len(arguments) < 2 or len(arguments) % 2 or not set(options) <= {"--library", "--lot"}:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        library = pathlib.Path(options.get("--library", pathlib.Path(folder) / "library"))
        library.mkdir(exist_ok=True)
        return figures(arguments[0], pathlib.Path(arguments[1]), library, options.get("--lot"))


if __name__ == "__main__":
    main()
