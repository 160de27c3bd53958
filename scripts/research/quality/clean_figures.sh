#!/usr/bin/env bash
# The figures of models on music that neither they nor their teachers were trained on:
#
#   scripts/research/quality/clean_figures.sh EVAL MODEL OTHER...
#
# EVAL holds packages/, grooves/ and voices/ that were held out from training, and the output of scripts/research/music/make_clean_eval.py
# (run here if missing). OTHERs are compared with MODEL, paired: neighbours by package, by style of grooves left
# out, sung against plain, then by genre on 200 labelled tracks by other artists, which are used for no choice. SETS="packages emotify" selects sets. PAIR="0.5 1" also evaluates each OTHER joined with MODEL in one vector. Vectors are
# stored in EVAL/vectors. Needs the Python of scripts/research/quality/neighbour_quality.py and make_clean_eval.py (PYTHON).
set -euo pipefail
[ $# -gt 1 ] || { sed -n '2,11p' "$0"; exit 2; }
scripts=$(cd "$(dirname "$0")" && pwd)
eval=$1
shift
labelled=${VOISIN_DEV_DATA:-$scripts/../../../shared/data}/emotify-dev
voisin=${VOISIN:-$scripts/../../target/release/voisin}
python=${PYTHON:-python3}
sets=${SETS:-packages grooves sung emotify}
[ -e "$eval/sung.tsv" ] || [ "$sets" = emotify ] || "$python" "$scripts/../music/make_clean_eval.py" "$eval/packages" "$eval/grooves" "$eval/voices" "$eval"
pair=()
for weight in ${PAIR:-}; do pair+=(--pair "$weight"); done
for set in $sets; do
    music=$eval/$set labels=$eval/$set.tsv options=()
    [ "$set" != emotify ] || { music=$labelled; labels=$labelled/tracks.tsv; options=(--join pop=rock); }
    folders=()
    for model in "$@"; do
        folder=$eval/vectors/$set/$(basename "$model" .json)
        if [ ! -e "$folder/tracks.csv" ]; then
            rm -rf "$eval/library"
            VOISIN_LIBRARY=$eval/library "$voisin" --model "$model" add --quiet "$music"
            VOISIN_LIBRARY=$eval/library "$voisin" export "$folder"
        fi
        folders+=("$folder")
    done
    printf '\n== %s\n' "$set"
    "$python" "$scripts/neighbour_quality.py" "$labels" "${folders[@]}" --svm "${options[@]}" "${pair[@]}"
done
rm -rf "$eval/library"
