#!/usr/bin/env bash
# The figures of the documents that voisin's laboratory follows; needs their music:
#
#   research/quality/lab_figures.sh fma DIR OUT [OPTION…]     FMA-small: tracks.csv and fma_small in DIR, its own split
#   research/quality/lab_figures.sh gtzan DIR OUT [OPTION…]   GTZAN: a folder for each genre in DIR (genres_original), of all tracks
#                                                    20 % at random are the test part, and 20 % of the others select the epoch
#   research/quality/lab_figures.sh made DEMO OUT [OPTION…]   the cost of FMA-small, without it: 800 clips of 30 s (CLIPS), MP3 as there,
#                                                    joined from the music in DEMO (data/demo/library) by ffmpeg: decoded and
#                                                    checked, converted to the 518 features, evaluated with six algorithms in
#                                                    five folds, all of them and half of them; CPU seconds of each stage
#
# OPTIONs go to every `voisin train classifier`, as in "--device cuda" or "--set epochs=1" for a trial. Everything is stored
# in OUT: the same command resumes an aborted run. VOISIN names the program [target/release/voisin].
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,14s/^# \?//p' "$0"; exit 2; }
kind=$1 data=$2 out=$3
shift 3
voisin=${VOISIN:-$(dirname "$0")/../../target/release/voisin}
mkdir -p "$out"

# exit code 1: some files could not be used, as in every copy of both data sets
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
        some_may_fail "$voisin" dataset "folder:$data" --force --output "$out/all.csv" > "$out/dataset.txt"
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
made)
    if [ ! -e "$out/whole.csv" ]; then
        python3 - "$data" "$out" "${CLIPS:-800}" <<'PY'
import csv, pathlib, random, subprocess, sys
data, out, clips = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
genres = sorted(folder for folder in data.iterdir() if folder.is_dir())
rows = []
for number in range(clips):
    draw, genre = random.Random(number), genres[number % len(genres)]
    # three pieces one after the other, at another speed and loudness: no two clips alike
    pieces = draw.sample(sorted(genre.iterdir()), 3)
    speed, level = draw.uniform(0.8, 1.25), draw.uniform(0.4, 1)
    path = out / "audio" / f"{number:06}.mp3"
    path.parent.mkdir(parents=True, exist_ok=True)
    # half of the labels are random, of eight as there, for the same difficulty
    label = draw.choice([*(genre.name for genre in genres), "pop", "rock"]) if draw.random() < 0.5 else genre.name
    rows.append([path, label, f"artist {number // (3 * len(genres))} of {genre.name}"])
    if not path.exists():
        like = "".join(f"[{at}:a]aresample=44100,aformat=channel_layouts=stereo[a{at}];" for at in range(3))
        chain = f"{like}[a0][a1][a2]concat=n=3:v=0:a=1,asetrate={44100 * speed:.0f},aresample=44100,volume={level:.2f}"
        inputs = [word for piece in pieces for word in ("-i", piece)]
        subprocess.run(["ffmpeg", "-v", "error", "-y", *inputs, "-filter_complex", chain, "-t", "30", "-b:a", "256k",
                        "-f", "mp3", path.with_suffix(".part")], check=True)
        path.with_suffix(".part").rename(path)
for name, part in ("half", rows[: clips // 2]), ("whole", rows):
    with open(out / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "genre", "artist"], *part])
PY
    fi
    TIMEFORMAT="%U %S"
    [ -s "$out/dataset.txt" ] ||
        { time "$voisin" dataset "table:$out/whole.csv" > "$out/dataset.txt" 2> "$out/dataset.log"; } 2> "$out/dataset.time"
    # computes the features, and compares the audio of possible copies
    train "table:$out/whole.csv" "$out/report" --features fma --cache "$out/cache" --split artist --folds 5 --algorithm knn
    for part in whole half; do
        "$voisin" features "table:$out/$part.csv" --set fma --cache "$out/cache" --output "$out/$part-fma.csv" --force
        for algorithm in knn logistic lda svm forest boost; do
            train "features:$out/$part-fma.csv" "$out/$part-$algorithm" --split artist --folds 5 --algorithm "$algorithm" "${@}"
        done
    done
    ;;
*) echo "expected fma, gtzan or made, found $kind" >&2; exit 2 ;;
esac

python3 - "$kind" "$out" <<'PY'
import csv, json, math, pathlib, sys
if sys.argv[1] == "made":
    out = pathlib.Path(sys.argv[2])
    def seconds(run, *phases):
        rows = csv.DictReader(open(out / run / "cost.csv"))
        return sum(float(row["processor_seconds"]) for row in rows if not phases or row["phase"] in phases)

    print("| stage | half | all clips | ten times as many, about |\n|---|---|---|---|")
    rows, copies = [], seconds("report", "figures")
    looked = sum(map(float, (out / "dataset.time").read_text().split()[-2:]))
    heard = seconds("report", "listening")
    # at most 500 pairs are compared by audio, as many as the synthetic clips have
    rows.append(("decoding and looking through (dataset)", None, looked - copies, 10 * (looked - copies)))
    rows.append(("listening to pairs that may be copies", None, copies, copies))
    rows.append(("the 518 numbers (fma)", None, heard, 10 * heard))
    for algorithm in ("knn", "logistic", "lda", "svm", "forest", "boost"):
        half, whole = (seconds(f"{part}-{algorithm}") for part in ("half", "whole"))
        # extrapolated by the growth from the half to the whole
        power = max(1.0, math.log2(whole / half))
        rows.append((f"{algorithm}: five folds, its own fit, importance", half, whole, whole * 10**power))
    rows.append(("together", None, sum(row[2] for row in rows), sum(row[3] for row in rows)))
    for name, half, whole, estimate in rows:
        print(f"| {name} | {'' if half is None else f'{half:.1f}'} | {whole:.1f} | {estimate:.0f} |")
    raise SystemExit
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
