#!/usr/bin/env python3
"""Compares vectors with human ratings of which two of three clips sound alike.

    voisin add MAGNATAGATUNE; voisin export DIR
    scripts/research/quality/human_triplets.py comparisons_final.csv DIR [DIR ...] [--centre LENGTHS]

comparisons_final.csv is MagnaTagATune's (Law, West, Mandel, Bay, Downie, ISMIR 2009):
tab-separated, for each triplet of clips the number of players of a game who chose each as the odd
one out. A model agrees if the two others are its nearest pair (cosine). Chance is 33.3 %. Printed
for two published rules, both without ties: the clip that was chosen most often has at least 3 votes
(of the file's 533 threes 307 remain), or at least 2 (378). Each share has its 95 % interval by a
bootstrap over threes, and for all but the first DIR the paired difference from that. Threes with
a clip that is not in DIR/tracks.csv (by the end of its path) are left out, and counted. --centre
LENGTHS as in scripts/research/quality/neighbour_quality.py.

For comparison, as published: LAION-CLAP 66.4 % (3 votes); CNN14 64.0, MERT-95M 63.8, VGGish 62.7 %
(2 votes, z-scored). Needs numpy.
"""

import argparse
import csv
import pathlib

import neighbour_quality
import numpy


def threes(path):
    """[(paths of the three clips, votes for each)]"""
    with open(path, newline="", encoding="utf-8") as handle:
        return [
            (
                tuple(row[f"clip{i}_mp3_path"] for i in (1, 2, 3)),
                [int(row[f"clip{i}_numvotes"]) for i in (1, 2, 3)],
            )
            for row in csv.DictReader(handle, delimiter="\t")
        ]


def decided(votes, least):
    """Which clip does not belong; None for a tie, or fewer than `least` votes for it."""
    most = max(votes)
    return votes.index(most) if most >= least and votes.count(most) == 1 else None


def odd_one_out(vectors):
    """Which of three vectors is not in the nearest pair."""
    a, b, c = neighbour_quality.unit(numpy.stack(vectors))
    return int(numpy.argmax([b @ c, a @ c, a @ b]))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("comparisons", type=pathlib.Path)
    parser.add_argument("export", type=pathlib.Path, nargs="+")
    parser.add_argument(
        "--centre", type=lambda text: [int(length) for length in text.split(",")], metavar="LENGTHS"
    )
    options = parser.parse_args()
    rated = threes(options.comparisons)
    clips = {clip for paths, _ in rated for clip in paths}
    models = {}
    for folder in options.export:
        table = neighbour_quality.read(folder, clips)
        models[folder.name] = table
        if options.centre:
            mean = numpy.load(folder / "mean.npy")
            vectors = neighbour_quality.centred(
                numpy.stack(list(table.values())), mean, options.centre
            )
            models[f"{folder.name} centred"] = dict(zip(table, vectors, strict=False))
    known = set.intersection(*map(set, models.values()))
    for least in (3, 2):
        chosen = [(paths, decided(votes, least)) for paths, votes in rated]
        chosen = [(paths, odd) for paths, odd in chosen if odd is not None]
        present = [(paths, odd) for paths, odd in chosen if known.issuperset(paths)]
        print(
            f"at least {least} votes: {len(chosen)} of {len(rated)} threes, {len(present)} of them with all clips"
        )
        if not present:
            continue
        reference = None
        for name, table in models.items():
            agrees = numpy.array(
                [odd_one_out([table[clip] for clip in paths]) == odd for paths, odd in present],
                float,
            )
            each = numpy.arange(len(agrees))
            low, high = neighbour_quality.interval(agrees, each)
            line = f"  {name}: {agrees.mean():.1%} ({low:.1%} to {high:.1%})"
            if reference is None:
                reference = agrees
            else:
                low, high = neighbour_quality.interval(agrees - reference, each)
                line += f", {(agrees - reference).mean():+.1%} ({low:+.1%} to {high:+.1%})"
            print(line)


if __name__ == "__main__":
    main()
