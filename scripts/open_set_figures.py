#!/usr/bin/env python3
"""How genres that a library lacks are answered: scripts/open_set_figures.py VOISIN MUSIC [--library DIR] [--lot LOT]

VOISIN is the program, MUSIC a folder with one folder of files for each genre and tracks.tsv beside them (emotify-dev).
Each part of PARTS (with --lot, each kin of that lot in scripts/kin_styles.tsv, whose folders MUSIC holds) is left out of the labels in its turn, with its kin, and all tracks are asked of neighbours and of a
trained head. Printed per part: the share of what was left out that is called unknown, the share that is named at 85 % and
more (of neighbours: of the votes), and the share of labelled tracks that is called unknown; then their means over what was left out with its kin. --library keeps (or finds) the
library that MUSIC was added to.

    scripts/open_set_figures.py --fit VOISIN TAGGRAMS

refits two constants of crates/voisin-learn/src/genre/familiarity.rs on gtzan-taggrams (TAGGRAMS/train.npz, needs numpy and
scikit-learn): FOREIGN_BELOW, the greatest hundredth at which at most 9 % of the known tracks are lost, either for being less
familiar than that or for a first guess of a genre that the labels lack; and DOUBT_BELOW, the least at which at most 1 % of
what is left out with its kin is named at 85 % and more, on average. The first guess is fitted again without the tracks that
it judges. Run it whenever vectors, the first guess or data/genre-kin.tsv change, and put its results there. STEADY_BELOW is
half of the least spread of the demo's music.
"""

import collections
import csv
import json
import pathlib
import re
import subprocess
import sys
import tempfile

# What goes together; a genre left out alone is reported apart, since its kin stays.
PARTS = [["classical"], ["electronic"], ["pop", "rock"], ["pop"], ["rock"]]
KIN = [["classical", "jazz"], ["blues", "country", "rock", "metal"], ["disco", "hiphop", "pop", "reggae"]]
GENRES = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"]
SURE = 0.85
# A tenth, of which a head's own measure of novelty takes a hundredth (`PredictOptions::novelty`).
LOST = 0.09
NEAREST = 10
# As crates/voisin-learn/src/genre/present.rs has them.
BELIEVED = 0.5
SOUNDS_SO = 0.1
# A fifth of the aim of 5 %: taggrams of ten genres in equal parts are told apart more easily than a library's vectors.
MOST = 0.01


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
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
    files = [(path.relative_to(music).as_posix(), row["genre"]) for row in rows for path in (music / row["folder"]).iterdir()]
    return dict(files), [sorted({row["genre"] for row in rows if row["kin"] == kin}) for kin in sorted({row["kin"] for row in rows})]


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
        table.write_text("path,genre\n" + "".join(f"{name},{genre}\n" for name, genre in known.items()), encoding="utf-8")
        run(program, "--library", library, "train", "genre", "--label-from", table)
        for who, more in [("neighbours", ["-k", "15"]), ("head", [])]:
            said = json.loads(run(program, "--library", library, "classify", "--all", "--format", "json", *more))["items"]
            of = [(genres.get("/".join(pathlib.Path(a["path"]).parts[-2:])), a) for a in said]
            of = [(genre, a) for genre, a in of if genre]
            foreign = [a for genre, a in of if genre in left]
            own = [a for genre, a in of if genre not in left]
            sure = share(a["genre"] is not None and a["probability"] >= SURE for a in foreign)
            line = share(a["genre"] is None for a in foreign), sure, share(a["genre"] is None for a in own)
            if not any(set(left) < set(other) for other in parts):
                means[who].append(line)
            print(f"{'+'.join(left):16} {who:10} {line[0]:8.3f} {line[1]:14.3f} {line[2]:11.3f}", flush=True)
    for who, lines in means.items():
        line = [sum(column) / len(column) for column in zip(*lines)]
        print(f"{'mean, with kin':16} {who:10} {line[0]:8.3f} {line[1]:14.3f} {line[2]:11.3f}")


def key(name):
    return re.sub("[^a-z0-9]", "", name.lower())


def there(labels, guesses):
    """The genres of a first guess that labels have by name, by kin or by sound; `guesses` are (genre, probability)."""
    lines = (pathlib.Path(__file__).parent.parent / "data" / "genre-kin.tsv").read_text(encoding="utf-8").splitlines()
    families = [{key(style) for style in line.split("\t")} for line in lines if line and not line.startswith("#")]
    found = set()
    for label in sorted(set(labels)):
        words = {key(word) for word in [label, *re.split("[^A-Za-z0-9]", label)]} - {""}
        found |= words.union(*(family for family in families if family & words))
        own = [guess for of, guess in zip(labels, guesses) if of == label]
        often = collections.Counter(key(genre) for genre, probability in own if probability >= BELIEVED)
        found |= {genre for genre, count in often.items() if count >= SOUNDS_SO * len(own)}
    return found


def first_guesses(taggrams, groups):
    """(genre, probability) of each track, by a first guess that was fitted without a fifth of the artists, its own among them."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    import fit_default_genres as default

    figures = json.loads((pathlib.Path(__file__).parent.parent / "data" / "default_genres.json").read_text(encoding="utf-8"))["figures"]
    x, y = default.tracks(taggrams / "train.npz")
    fold = np.unique(groups, return_inverse=True)[1] % 5
    z = np.zeros((len(x), len(default.LABELLED)))
    for held in (fold == i for i in range(5)):
        mean, scale = x[~held].mean(0), 1 / x[~held].std(0)
        model = LogisticRegression(C=figures["penalty"], max_iter=20_000, tol=1e-8).fit((x[~held] - mean) * scale, y[~held])
        z[held] = model.decision_function((x[held] - mean) * scale)
    bars = np.quantile(default.margins(x), 1 - default.FALSE_CLAIMS, axis=0)
    shares = default.joined(default.softmax(z / figures["temperature"]), x, bars)
    names = [*default.LABELLED, *default.TAGGED]
    return [(names[best], share) for best, share in zip(shares.argmax(1), shares.max(1))]


def fit(program, taggrams):
    import numpy as np

    file = np.load(taggrams / "train.npz", allow_pickle=True)
    names, first, number = np.unique(file["IDS"], return_index=True, return_inverse=True)
    x = np.stack([file["X"][number == i].mean(0) for i in range(len(names))]).astype(np.float32)
    y = np.array(GENRES)[file["Y"][first]]
    # GTZAN lists an artist's tracks together
    groups = np.array([f"{genre}{int(name.split('.')[1]) // 10}" for genre, name in zip(y, names)])
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)

    def nearness(rows, others, apart):
        similar = unit[rows] @ unit[others].T
        if apart:
            similar[groups[rows][:, None] == groups[others][None, :]] = -1
        return np.sort(similar, 1)[:, -NEAREST:].mean(1)

    guesses = first_guesses(taggrams, groups)
    found, known = [], []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for left in KIN:
            out = np.flatnonzero(np.isin(y, left))
            own = np.flatnonzero(~np.isin(y, left))
            np.save(folder / "x.npy", x[own])
            np.save(folder / "t.npy", x[out])
            for name, column, values in [("l", "genre", y[own]), ("g", "group", groups[own])]:
                (folder / f"{name}.csv").write_text(f"row,{column}\n" + "".join(f"{i},{v}\n" for i, v in enumerate(values)))
            run(program, "eval", "genre", "--vectors", folder / "x.npy", "--labels", folder / "l.csv", "--groups",
                folder / "g.csv", "--test-vectors", folder / "t.npy", "--predictions", folder / "out.csv")
            with open(folder / "out.csv", encoding="utf-8") as predictions:
                p = np.array([float(row["probability"]) for row in csv.DictReader(predictions)])
            near = np.sort(nearness(own, own, True))
            familiar = (1 + np.searchsorted(near, nearness(out, own, False), "right")) / (1 + len(near))
            own_familiar = (1 + np.searchsorted(near, nearness(own, own, True), "right")) / (1 + len(near))
            has = there(list(y[own]), [guesses[row] for row in own])
            lacks = np.array([probability >= BELIEVED and key(genre) not in has for genre, probability in guesses])
            found.append((p, familiar, lacks[out]))
            known.append((own_familiar, lacks[own]))
            print(f"{'+'.join(left):26} sounds like what the labels lack {share(lacks[out]):.3f}, known ones {share(lacks[own]):.3f},"
                  f" sure without the rule {share(p >= SURE):.3f}")
    lost = {step / 100: np.mean([share((f < step / 100) | lacks) for f, lacks in known]) for step in range(1, 11)}
    foreign = max(below for below, part in lost.items() if part <= LOST)
    unknown = np.mean([share((f < foreign) | lacks) for _, f, lacks in found])
    print(f"FOREIGN_BELOW {foreign:.2f}: known tracks lost {lost[foreign]:.3f}, strangers unknown {unknown:.3f}")
    for doubt in [step / 20 for step in range(2, 21)]:
        sure = [share((f >= foreign) & ~lacks & (p * np.minimum(1, f / doubt) >= SURE)) for p, f, lacks in found]
        mean = sum(sure) / len(sure)
        print(f"DOUBT_BELOW {doubt:.2f}: named at 85 % and more {mean:.3f}")
        if mean <= MOST:
            return


def main():
    arguments = sys.argv[1:]
    if len(arguments) == 3 and arguments[0] == "--fit":
        return fit(arguments[1], pathlib.Path(arguments[2]))
    options = dict(zip(arguments[2::2], arguments[3::2]))
    if len(arguments) < 2 or len(arguments) % 2 or not set(options) <= {"--library", "--lot"}:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        library = pathlib.Path(options.get("--library", pathlib.Path(folder) / "library"))
        library.mkdir(exist_ok=True)
        return figures(arguments[0], pathlib.Path(arguments[1]), library, options.get("--lot"))


if __name__ == "__main__":
    main()
