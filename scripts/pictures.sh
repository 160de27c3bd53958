#!/bin/sh
# The pictures of README.md and docs, from the demo's music: pictures.sh [VOISIN]; writes docs/{map,map-clusters,genres,dendrogram}.png
# (those of the server's page: scripts/page_pictures.py)
set -eu
cd "$(dirname "$0")/.."
voisin=${1:-target/release/voisin}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export VOISIN_LIBRARY="$work/library"
"$voisin" add --quiet data/demo/library
"$voisin" map --force --output docs/map.png --title "The demo's music, by genre"
"$voisin" map --update --force --output docs/map-clusters.png --colour-by cluster --title "The same, by cluster"
"$voisin" genres --force --heatmap docs/genres.png --dendrogram docs/dendrogram.png > /dev/null
