#!/usr/bin/env bash
# The figures of the documents that voisin's laboratory follows, for whoever has the music:
#
#   scripts/lab_figures.sh fma DIR OUT [OPTION…]     FMA-small: tracks.csv and fma_small in DIR, its own split
#   scripts/lab_figures.sh gtzan DIR OUT [OPTION…]   GTZAN: a folder for each genre in DIR (genres_original), of all tracks
#                                                    20 % at random judge, and of the others 20 % choose the epoch
#
# OPTIONs go to every `voisin train classifier`, as in "--device cuda" or "--set epochs=1" for a trial. Everything is kept
# in OUT: the same command goes on where it was cut off. VOISIN names the program [target/release/voisin].
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,10s/^# \?//p' "$0"; exit 2; }
kind=$1 data=$2 out=$3
shift 3
voisin=${VOISIN:-$(dirname "$0")/../target/release/voisin}
mkdir -p "$out"

# 1 says that some files could not be used, as in every copy of both data sets
some_may_fail() { "$@" || [ $? -eq 1 ]; }
train() { some_may_fail "$voisin" train classifier "$@" > /dev/null; }

case $kind in
fma)
    for recipe in baseline-cnn baseline-cnn-bn cnn-gap; do
        train "fma:$data" "$out/$recipe" --recipe "$recipe" --cache "$out/cache" "${@}"
    done
    "$voisin" eval classifier "$out"/{baseline-cnn,baseline-cnn-bn,cnn-gap} --html "$out/compare.html"
    ;;
gtzan)
    if [ ! -e "$out/table.csv" ]; then
        some_may_fail "$voisin" dataset "folder:$data" --output "$out/all.csv" > "$out/dataset.txt"
        python3 - "$out" <<'PY'
import csv, random, sys
rows = [row for row in csv.DictReader(open(f"{sys.argv[1]}/all.csv", newline="", encoding="utf-8")) if row["status"] == "ok"]
random.Random(1).shuffle(rows)
test = len(rows) // 5
validation = (len(rows) - test) // 5
for at, row in enumerate(rows):
    row["split"] = "test" if at < test else "validation" if at < test + validation else "training"
with open(f"{sys.argv[1]}/table.csv", "w", newline="", encoding="utf-8") as file:
    table = csv.DictWriter(file, ["path", "genre", "split"], extrasaction="ignore")
    table.writeheader()
    table.writerows(rows)
PY
    fi
    train "table:$out/table.csv" "$out/cnn-lstm-mfcc" --recipe cnn-lstm-mfcc --cache "$out/cache" "${@}"
    ;;
*) echo "expected fma or gtzan, found $kind" >&2; exit 2 ;;
esac

python3 - "$kind" "$out" <<'PY'
import json, pathlib, sys
documents = {
    "baseline-cnn": "training 96 %, test 39 %; F1 Hip-Hop 0.65, Rock 0.53; Instrumental attracts",
    "cnn-lstm-mfcc": "test 51 %",
}
runs = {"fma": ["baseline-cnn", "baseline-cnn-bn", "cnn-gap"], "gtzan": ["cnn-lstm-mfcc"]}[sys.argv[1]]
print("| recipe | document | training, last epoch | test (95 %) | F1 | attracts |\n|---|---|---|---|---|---|")
for run in runs:
    report = json.loads((pathlib.Path(sys.argv[2]) / run / "report.json").read_text())
    figures, percent = report["figures"], lambda share: f"{100 * share:.1f}"
    classes = figures["per_class"]
    f1 = ", ".join(f"{one['name']} {one['f1']:.2f}" for one in classes)
    loud = [one["name"] for one in classes if one["answered"] >= max(1.5 * one["support"], one["support"] + 3)]
    of = figures["accuracy"]
    print(f"| {run} | {documents.get(run, '')} | {percent(report['learning']['accuracy'][0][-1])} "
          f"| {percent(of['value'])} ({percent(of['low'])} to {percent(of['high'])}) | {f1} | {', '.join(loud)} |")
PY
