#!/bin/sh
# Other versions of each track, to test duplicates with: explore_versions.sh SOURCE OUT [MOST]
# SOURCE/GENRE/*.mp3 → OUT/{original,mp3-64,opus-48,flac,soft,cut}/GENRE/*; needs ffmpeg.
set -eu
source=$1 out=$2 most=${3:-100000}
for genre in "$source"/*/; do
  name=$(basename "$genre")
  for kind in original mp3-64 opus-48 flac soft cut; do mkdir -p "$out/$kind/$name"; done
  ls "$genre"*.mp3 | head -n "$most" | while read -r file; do
    stem=$(basename "$file" .mp3)
    [ -e "$out/cut/$name/$stem.mp3" ] && continue
    ln -sf "$(realpath "$file")" "$out/original/$name/$stem.mp3"
    ffmpeg -nostdin -v error -y -i "$file" \
      -map 0:a -b:a 64k "$out/mp3-64/$name/$stem.mp3" \
      -map 0:a -c:a libopus -b:a 48k "$out/opus-48/$name/$stem.opus" \
      -map 0:a "$out/flac/$name/$stem.flac" \
      -map 0:a -filter:a volume=-6dB -b:a 128k "$out/soft/$name/$stem.mp3" \
      -map 0:a -filter:a atrim=start=2,asetpts=PTS-STARTPTS -b:a 128k "$out/cut/$name/$stem.mp3"
  done
done
