#!/usr/bin/env bash
# The figures of models on 200 labelled tracks in research/voisin-3.md: research/quality/model_figures.sh MODEL...
#
# Ten nearest by other artists, four classes and then pop and rock as one; a window every second.
# The labelled music may not be redistributed; it is read from VOISIN_DEV_DATA, else from ../shared/data. It was used for no
# training and no choice.
set -euo pipefail
cd "$(dirname "$0")/../.."
music=${VOISIN_DEV_DATA:-../shared/data}/emotify-dev
voisin=${VOISIN:-target/release/voisin}
[ -n "${VOISIN:-}" ] || cargo build --release
[ $# -gt 0 ] || { sed -n '2,6p' "$0"; exit 2; }
for model in "$@"; do
    work=$(mktemp -d)
    export VOISIN_LIBRARY=$work/library
    printf '\n== %s\n' "$model"
    "$voisin" --model "$model" add --quiet --windows all "$music"
    for join in "" "pop,rock"; do
        "$voisin" eval retrieval --label-from folder ${join:+--join "$join"}
    done
    rm -rf "$work"
done
