#!/bin/sh
# Draws the pictures of README.md and docs, from the demo's music: pictures.sh [--check] [VOISIN]
#
# Writes docs/{map,map-clusters,genres,dendrogram}.png and
# scripts/pictures/pictures.txt, the words and figures on them. With --check it writes nothing and
# fails if the program would draw other words or figures; positions of points are not compared, as
# the last bits of vectors differ between processors.
set -eu
cd "$(dirname "$0")/../.."
check=
if [ "${1:-}" = --check ]; then
    check=1
    shift
fi
voisin=${1:-target/release/voisin}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export VOISIN_LIBRARY="$work/library"
"$voisin" add --quiet data/demo/library data/demo/songs data/demo/punk

# Draws all of them: draw FOLDER ENDING
draw() {
    "$voisin" map --output "$1/map.$2" --title "The demo's music, by genre"
    "$voisin" map --update --output "$1/map-clusters.$2" --colour-by cluster --title "The same, by cluster"
    "$voisin" genres --heatmap "$1/genres.$2" --dendrogram "$1/dendrogram.$2" > /dev/null
}

draw "$work" svg
# The pictures of clusters are not compared, since a track between two clusters may be in either.
for name in map genres dendrogram; do
    echo "$name"
    grep -o '<text[^>]*>[^<]*<' "$work/$name.svg" | sed 's/^[^>]*>/  /; s/<$//' | sort -u
done > "$work/pictures.txt"
if [ -n "$check" ]; then
    diff scripts/pictures/pictures.txt "$work/pictures.txt" || {
        echo "pictures.sh: expected the words and figures of pictures.txt, found those above: redraw the pictures with scripts/pictures/pictures.sh $voisin" >&2
        exit 1
    }
else
    draw docs png
    cp "$work/pictures.txt" scripts/pictures/pictures.txt
fi
