#!/bin/sh
# Draws the map of README.md and docs, from the demo's music: pictures.sh [--check] [VOISIN]
#
# Writes docs/map.png and scripts/pictures/pictures.txt, the words and figures on it. With --check it writes nothing and
# fails if the program would draw other words or figures; positions of points are not compared, as
# the last bits of vectors differ between processors. (The server's page:
# scripts/pictures/page_pictures.py)
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

"$voisin" map --output "$work/map.svg"
{
    echo map
    grep -o '<text[^>]*>[^<]*<' "$work/map.svg" | sed 's/^[^>]*>/  /; s/<$//' | sort -u
} > "$work/pictures.txt"
if [ -n "$check" ]; then
    diff scripts/pictures/pictures.txt "$work/pictures.txt" || {
        echo "pictures.sh: expected the words and figures of pictures.txt, found those above: redraw the pictures with scripts/pictures/pictures.sh $voisin" >&2
        exit 1
    }
else
    "$voisin" map --output docs/map.png
    cp "$work/pictures.txt" scripts/pictures/pictures.txt
fi
