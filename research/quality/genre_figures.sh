#!/usr/bin/env bash
# The figures of the genre engine in BENCHMARKS.md.
#
#   research/quality/genre_figures.sh training     gtzan-taggrams, training part only: cross-validation, calibration, unknown genres,
#                                         metal to rock, flipped labels
#   research/quality/genre_figures.sh test-part    its test part, once at the end (no choice may be made by it)
#   research/quality/genre_figures.sh emotify      the default encoder on 200 labelled tracks, by artist, 4 and 3 classes
#   research/quality/genre_figures.sh default      the first guess, without any label, on the same tracks: classical, electronic, pop or rock
#   research/quality/genre_figures.sh speed        fitting and classifying with 10 000 synthetic tracks
#
# The labelled music may not be redistributed; it is read from VOISIN_DEV_DATA, else from ../shared/data.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${VOISIN_DEV_DATA:-../shared/data}
export VOISIN_DEV_DATA=$data

figures() { cargo run --release --example genre_figures -- "$1"; }

case "${1:-}" in
training)
    figures training
    cargo test --release --test parts -- --exact --nocapture \
        genre::real::real_labels_flipped_are_found genre::real::real_genres_left_out_fall_to_their_kin_and_are_strange
    ;;
test-part) figures test-part ;;
emotify)
    cargo build --release
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    export VOISIN_LIBRARY=$work/library
    target/release/voisin add --quiet "$data/emotify-dev"
    # the same tracks with pop and rock as one genre
    awk -F'\t' 'NR == 1 { print "path,genre"; next } { print $1 "," ($2 == "rock" ? "pop" : $2) }' \
        "$data/emotify-dev/tracks.tsv" > "$work/three.csv"
    for labels in folder "$work/three.csv"; do
        printf '\n== %s\n' "$(basename "$labels")"
        target/release/voisin lab eval genre --label-from "$labels" --repeats 5
    done
    ;;
default)
    cargo build --release
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    export VOISIN_LIBRARY=$work/library
    target/release/voisin classify "$data"/emotify-dev/*/*.mp3 --format csv > "$work/guess.csv" || true
    # path,genre,probability,unknown,best; no path here has a comma
    awk -F, 'NR > 1 {
        n = split($1, part, "/"); label = part[n - 1]; if (label == "rock") label = "pop"
        said = tolower($2); if (said == "ambient") said = "electronic"; if (said == "rock") said = "pop"
        all++; right += said == label; answered += said != ""; seen[label]++; found[label] += said == label
    } END {
        printf "right %d of %d, of answers %d\n", right, all, answered
        for (label in seen) printf "%s: %d of %d\n", label, found[label], seen[label]
    }' "$work/guess.csv"
    ;;
speed) figures speed ;;
*) sed -n '2,13p' "$0"; exit 2 ;;
esac
