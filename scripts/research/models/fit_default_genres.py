#!/usr/bin/env python3
"""Fits data/default_genres.json: from the 50 tags of MusiCNN (Million Song Dataset) to a first
guess of the genre.

    pip install numpy scikit-learn
    python scripts/research/models/fit_default_genres.py TAGGRAMS/train.npz data/default_genres.json --speech NPZ --music NPZ
        [--test TAGGRAMS/test.npz] [--judge NPZ ...]

TAGGRAMS are MusiCNN's tag activations on GTZAN (ten genres, fault-filtered split: 443 tracks to
fit, 290 to test), from jordipons/sklearn-audio-transfer-learning (ISC). Only the first file is
fitted to; --test prints the final figure.

Ten genres are fitted on labels: softmax regression on the mean logit of every tag over a track. Its
penalty and temperature are chosen on folds of the training tracks: the strongest penalty within a
standard error of the best. Other genres have no labels there and are predicted by tags: each
competes by how far its strongest tag is above the strongest tag of any labelled genre. The
threshold is where 1 % of the training tracks, none of which is of that genre, would be predicted as
it.

Speech is separated from everything else by logistic regression on the same logits, both with the
same weight: NPZs are outputs of `voisin --model musicnn-msd embed`, of
scripts/research/music/make_speech.py's OUT/fit, and of music and unaccompanied singing; the training tracks
above are no speech either. Its penalty is chosen as above, by folds that keep folders together;
its threshold, too, is where 1 % of the training tracks would be predicted as speech. --judge prints
the share of an NPZ folder that is predicted as speech. Made with scikit-learn 1.9.1, NumPy 2.4.6.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "quality"))
from voice_figures import tag_layers  # noqa: E402

LABELLED = [
    "Blues",
    "Classical",
    "Country",
    "Disco",
    "Hip-Hop",
    "Jazz",
    "Metal",
    "Pop",
    "Reggae",
    "Rock",
]
# Tags that name a labelled genre, or one that is part of it.
NAMING = [
    "rock",
    "pop",
    "alternative rock",
    "jazz",
    "metal",
    "classic rock",
    "indie rock",
    "blues",
    "hard rock",
    "Hip-Hop",
    "country",
    "heavy metal",
    "Progressive rock",
    "indie pop",
]
TAGGED = {
    "Electronic": ["electronic", "electronica", "electro", "House"],
    "Ambient": ["ambient"],
    "Folk": ["folk"],
    "Punk": ["punk"],
    "Soul": ["soul", "rnb"],
    "Funk": ["funk"],
}
TAGS = [
    "rock",
    "pop",
    "alternative",
    "indie",
    "electronic",
    "female vocalists",
    "dance",
    "00s",
    "alternative rock",
    "jazz",
    "beautiful",
    "metal",
    "chillout",
    "male vocalists",
    "classic rock",
    "soul",
    "indie rock",
    "Mellow",
    "electronica",
    "80s",
    "folk",
    "90s",
    "chill",
    "instrumental",
    "punk",
    "oldies",
    "blues",
    "hard rock",
    "ambient",
    "acoustic",
    "experimental",
    "female vocalist",
    "guitar",
    "Hip-Hop",
    "70s",
    "party",
    "country",
    "easy listening",
    "sexy",
    "catchy",
    "funk",
    "electro",
    "heavy metal",
    "Progressive rock",
    "60s",
    "rnb",
    "indie pop",
    "sad",
    "House",
    "happy",
]
MODEL = pathlib.Path(__file__).parents[3] / "models" / "musicnn-msd.json"
FALSE_CLAIMS = 0.01
SEED = 1


def tracks(path):
    """Mean logits [tracks, 50] and labels [tracks]; windows of a track are joined."""
    file = np.load(path, allow_pickle=True)
    p = np.clip(file["X"].astype(np.float64), 1e-6, 1 - 1e-6)
    logits = np.log(p / (1 - p))
    names, first, number = np.unique(file["IDS"], return_index=True, return_inverse=True)
    x = np.stack([logits[number == i].mean(0) for i in range(len(names))])
    return x, file["Y"][first]


def exported(folder):
    """Mean logits [tracks, 50] of a folder of .npz of the model musicnn-msd, and the folder of each."""
    [(_, weight, bias)], names = tag_layers(MODEL)
    assert names == TAGS
    paths = sorted(folder.rglob("*.npz"))
    means = np.stack([np.load(path)["embedding"].astype(np.float64).mean(0) for path in paths])
    if means.shape[1] != weight.shape[1]:
        raise SystemExit(
            f"{folder}: expected the {weight.shape[1]} dimensions of musicnn-msd, found {means.shape[1]}"
        )
    return means @ weight.T + bias, np.array([path.parent.name for path in paths])


def fitted_speech(speech, music, genres):
    """Weights and bias of the logit that a track is speech, and what was held out."""
    (spoken, speakers), (played, places) = speech, music
    x = np.concatenate([spoken, played, genres])
    y = np.repeat([1, 0, 0], [len(spoken), len(played), len(genres)])
    groups = np.concatenate([speakers, places, [f"labelled {i}" for i in range(len(genres))]])
    folds = list(StratifiedGroupKFold(5, shuffle=True, random_state=SEED).split(x, y, groups))
    mean, scale = x.mean(0), 1 / x.std(0)

    def fit(c, rows):
        return LogisticRegression(C=c, max_iter=20_000, tol=1e-8, class_weight="balanced").fit(
            (x[rows] - mean) * scale, y[rows]
        )

    share = np.where(
        y == 1, 0.5 / y.sum(), 0.5 / (1 - y).sum()
    )  # of the loss: both halves count the same
    held, losses = {}, {}
    for c in [0.01, 0.03, 0.1, 0.3, 1, 3]:
        z = np.zeros(len(x))
        for train, out in folds:
            z[out] = fit(c, train).decision_function((x[out] - mean) * scale)
        held[c], losses[c] = z, np.logaddexp(0, np.where(y == 1, -z, z))
    least = min(losses, key=lambda c: (share * losses[c]).sum())
    far = losses[least] - (share * losses[least]).sum()
    bound = (share * losses[least]).sum() + np.sqrt((share**2 * far**2).sum())
    c = min(c for c in losses if (share * losses[c]).sum() <= bound)
    bar = max(0.0, float(np.quantile(held[c][-len(genres) :], 1 - FALSE_CLAIMS)))
    figures = {
        "speech": len(spoken),
        "no_speech": len(x) - len(spoken),
        "speech_penalty": c,
        "speech_bar": bar,
        "held_out_speech_told": float((held[c][y == 1] > bar).mean()),
        "held_out_singing_and_music_taken_for_speech": float(
            (held[c][len(spoken) : -len(genres)] > bar).mean()
        ),
    }
    model = fit(c, np.arange(len(x)))
    weight = model.coef_[0] * scale
    return weight, float(model.intercept_[0] - weight @ mean) - bar, figures


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def log_loss(p, y):
    return -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean()


def calibration_error(p, y, bins=10):
    top, right = p.max(1), p.argmax(1) == y
    place = np.minimum((top * bins).astype(int), bins - 1)
    return sum(
        abs(right[place == b].mean() - top[place == b].mean()) * (place == b).mean()
        for b in range(bins)
        if (place == b).any()
    )


def margins(x):
    """How far each tagged genre's strongest tag is above the strongest tag of a labelled genre."""
    at = {tag: i for i, tag in enumerate(TAGS)}
    rival = x[:, [at[tag] for tag in NAMING]].max(1)
    return np.stack([x[:, [at[tag] for tag in tags]].max(1) - rival for tags in TAGGED.values()], 1)


def joined(p, x, bars):
    """Probabilities of all genres, [tracks, labelled + tagged]."""
    weight = np.exp(np.minimum(margins(x) - bars, 50))
    # A genre at its bar is as likely as the likeliest labelled one.
    weight *= p.max(1, keepdims=True)
    return np.concatenate([p, weight], 1) / (1 + weight.sum(1, keepdims=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--speech", type=pathlib.Path, required=True)
    parser.add_argument("--music", type=pathlib.Path, required=True)
    parser.add_argument("--test", type=pathlib.Path)
    parser.add_argument("--judge", type=pathlib.Path, nargs="*", default=[])
    options = parser.parse_args()
    x, y = tracks(options.train)
    mean, scale = x.mean(0), 1 / x.std(0)
    folds = list(StratifiedKFold(5, shuffle=True, random_state=SEED).split(x, y))

    def model(c):
        return LogisticRegression(C=c, max_iter=20_000, tol=1e-8)

    def out_of_fold(c):
        z = np.zeros((len(x), len(LABELLED)))
        for train, held in folds:
            m, s = x[train].mean(0), 1 / x[train].std(0)
            z[held] = (
                model(c).fit((x[train] - m) * s, y[train]).decision_function((x[held] - m) * s)
            )
        return z

    candidates = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
    held_out = {c: out_of_fold(c) for c in candidates}
    temperatures = np.linspace(0.3, 3, 55)
    # The strongest penalty whose loss is within a standard error of the best: music outside GTZAN
    # is further out than its folds show, and large weights are wrong there with confidence.
    best = {
        c: min((log_loss(softmax(z / t), y), t) for t in temperatures) for c, z in held_out.items()
    }
    loss, least = min((best[c][0], c) for c in candidates)
    each = -np.log(softmax(held_out[least] / best[least][1])[np.arange(len(y)), y])
    c = min(c for c in candidates if best[c][0] <= loss + each.std() / np.sqrt(len(y)))
    temperature = best[c][1]
    p = softmax(held_out[c] / temperature)
    bars = np.quantile(margins(x), 1 - FALSE_CLAIMS, axis=0)
    whole = joined(p, x, bars)
    answer, sure = whole.argmax(1), whole.max(1)
    right = answer == y
    # Unknown: where answers as unsure as this were right less often than not.
    unknown = 0.0
    for level in np.arange(0.15, 0.6, 0.01):
        below = (sure < level) & (sure >= level - 0.1)
        if below.sum() >= 10 and right[below].mean() < 0.4:
            unknown = float(level)
    final = model(c).fit((x - mean) * scale, y)
    figures = {
        "tracks": len(x),
        "penalty": c,
        "temperature": float(temperature),
        "held_out_accuracy_ten_genres": float((p.argmax(1) == y).mean()),
        "held_out_calibration_error_ten_genres": float(calibration_error(p, y)),
        "held_out_accuracy_all_genres": float(right.mean()),
        "held_out_answered": float((sure >= unknown).mean()),
        "held_out_accuracy_of_answers": float(right[sure >= unknown].mean()),
    }
    speech_weight, speech_bias, speech_figures = fitted_speech(
        exported(options.speech), exported(options.music), x
    )
    figures |= speech_figures
    print(json.dumps(figures, indent=1), "unknown below", unknown, "bars", bars.round(2))
    if options.test:
        xt, yt = tracks(options.test)
        pt = softmax(final.decision_function((xt - mean) * scale) / temperature)
        all_genres = joined(pt, xt, bars)
        answered = all_genres.max(1) >= unknown
        print(
            f"test: {len(xt)} tracks, ten genres {(pt.argmax(1) == yt).mean():.3f}, calibration error "
            f"{calibration_error(pt, yt):.3f}; all genres {(all_genres.argmax(1) == yt).mean():.3f}; answered "
            f"{answered.mean():.3f}, of these right {(all_genres.argmax(1) == yt)[answered].mean():.3f}"
        )
        print(f"test: {int((xt @ speech_weight + speech_bias > 0).sum())} taken for speech")
    for folder in options.judge:
        logits, folders = exported(folder)
        taken = logits @ speech_weight + speech_bias > 0
        for place in sorted(set(folders)):
            print(
                f"{folder}, {place}: {taken[folders == place].sum()} of {(folders == place).sum()} taken for speech"
            )
    weight = final.coef_ * scale / temperature
    bias = (final.intercept_ - final.coef_ @ (mean * scale)) / temperature

    def digits(values):
        return [float(f"{v:.6g}") for v in values]

    data = {
        "format": 1,
        "made_by": f"scripts/research/models/fit_default_genres.py, scikit-learn {sklearn.__version__}, NumPy {np.__version__}",
        "sources": "MusiCNN tag activations on GTZAN's training tracks (fault-filtered split), from jordipons/sklearn-audio-transfer-learning, ISC; speech: scripts/research/music/make_speech.py",
        "figures": figures,
        "tags": TAGS,
        "labelled": [
            {"genre": name, "weight": digits(w), "bias": float(f"{b:.6g}")}
            for name, w, b in zip(LABELLED, weight, bias, strict=False)
        ],
        "naming": NAMING,
        "tagged": [
            {"genre": name, "tags": tags, "bar": float(f"{bar:.6g}")}
            for (name, tags), bar in zip(TAGGED.items(), bars, strict=False)
        ],
        "speech": {
            "genre": "Speech",
            "weight": digits(speech_weight),
            "bias": float(f"{speech_bias:.6g}"),
        },
        "unknown_below": unknown,
    }
    options.output.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
