#!/usr/bin/env python3
"""Sings to rendered accompaniments: scripts/research/music/make_songs.py GROOVES OUT --prompts FOLDER
[--songs N] [--seed S]

GROOVES is the output of scripts/research/music/make_grooves.py with the same --seed: each clip's chords,
tempo and bars follow from it. A song is one of them with a voice in its key and tempo: phrases of
chord notes and steps between them, a rhythm that repeats every fourth bar, sung by
scripts/research/music/make_voices.py's vocoder with the syllables of a real speaker. The voice is processed
as in a studio (high-pass, compressor, doubling, a room) and mixed at -2 to +7 dB relative to the
band; the sum is limited, heavily in half of the songs, as on the radio. Writes
OUT/STYLE/STYLE-sung-NUMBER.ogg, mono, so that `voisin-train-encoder prepare --grooves` takes OUT
beside GROOVES. For training only; existing songs are kept.

Needs the requirements of make_voices.py, and MMA's library (for the beats of a bar). The recordings
in the songs' voices are under CC BY-SA 3.0 or CC BY 3.0 (make_voices.py names the speakers).
"""

import argparse
import concurrent.futures
import pathlib
import random
import re
import sys
import tempfile

import make_grooves
import make_voices
import numpy
import pyworld
import scipy.ndimage
import scipy.signal
import soundfile

RATE = 44100
QUALITY = {True: ([0, 3, 7], [0, 3, 5, 7, 10]), False: ([0, 4, 7], [0, 2, 4, 7, 9])}


def chords(text):
    """Tempo and, for each bar, (pitch class of the root, whether minor)."""
    bars = []
    for name in re.findall(r"^\d+ (\S+)$", text, re.M):
        root = name[:2] if name[1:2] in ("b", "#") else name[:1]
        quality = name[len(root) :]
        bars.append(
            (
                make_grooves.NOTES.index(root),
                quality.startswith("m") and not quality.startswith("maj"),
            )
        )
    return int(re.search(r"^Tempo (\d+)$", text, re.M)[1]), bars


def beats(style, groove, library):
    """Beats of a bar: the last `Time` before the groove is defined, else four."""
    text = (library / f"{style}.mma").read_text(errors="replace")
    place = re.search(rf"^\s*DefGroove\s+{re.escape(groove)}\b", text, re.M | re.I)
    times = re.findall(r"^\s*Time\s+(\d+)", text[: place.end() if place else None], re.M | re.I)
    return int(times[-1]) if times else 4


def melody(tempo, bars, per_bar, low, high, rng):
    """(start, length, hertz; 0 for a rest), bar after bar."""
    beat = 60 / tempo
    patterns = []
    for _ in range(2):
        pattern, left = [], float(per_bar)
        while left > 0:
            length = min(left, rng.choice([0.5, 0.5, 1, 1, 1, 1.5, 2]))
            pattern.append(length)
            left -= length
        patterns.append(pattern)
    rests = rng.choice([{3}, {3, 7}, {7}, {0, 1, 2, 3}])  # of eight bars
    notes, at = [], 0.0
    last = (low * high) ** 0.5
    for i, (root, minor) in enumerate(bars):
        triad, scale = QUALITY[minor]
        if i % 8 in rests:
            notes.append((at, per_bar * beat, 0.0))
            at += per_bar * beat
            continue
        for j, length in enumerate(patterns[i // 2 % 2]):
            wanted = triad if j == 0 or rng.random() < 0.6 else scale
            pitches = [
                440 * 2 ** ((k - 69) / 12) for k in range(24, 96) if (k - root) % 12 in wanted
            ]
            pitches = [p for p in pitches if low <= p <= high]
            near = sorted(pitches, key=lambda p: abs(numpy.log2(p / last)))[:3]
            last = rng.choice(near)
            notes.append((at, length * beat, last))
            at += length * beat
    return notes


def compressed(samples, rate, ratio, seconds=0.02):
    """Levels above the usual one are brought nearer to it."""
    window = max(int(seconds * rate), 1)
    power = scipy.signal.lfilter([1 / window], [1, -(1 - 1 / window)], samples**2)
    level = numpy.sqrt(power + 1e-10)
    usual = numpy.sqrt((samples**2).mean() + 1e-10)
    return samples * numpy.minimum(1, (level / usual) ** (1 / ratio - 1))


def limited(samples, gain):
    """`gain` dB louder, and no louder than full scale: short peaks turned down, the rest bent."""
    samples = samples / max(abs(samples).max(), 1e-9) * 10 ** (gain / 20)
    peak = scipy.ndimage.maximum_filter1d(abs(samples), int(0.005 * RATE))
    smooth = scipy.ndimage.uniform_filter1d(numpy.maximum(peak, 1.0), int(0.005 * RATE))
    return numpy.tanh(samples / smooth) / numpy.tanh(1)


def song(path, out, groove, seed, speakers, library):
    """Writes one song; returns None, or why it could not."""
    style, number = path.parent.name, int(path.stem.rsplit("-", 1)[1])
    target = out / style / f"{style}-sung-{number:03}.ogg"
    if target.exists():
        return None
    chart = make_grooves.script(groove, random.Random(f"{seed} {style} {number}"))
    rng = random.Random(f"song {seed} {style} {number}")
    draw = numpy.random.default_rng(rng.getrandbits(64))
    try:
        tempo, bars = chords(chart)
        band, rate = soundfile.read(path, dtype="float64", always_2d=True)
        band = band.mean(1)
        if rate != RATE:
            return f"{path.name}: {rate} Hz, expected {RATE}"
        voice = make_voices.speech(speakers[rng.choice(sorted(speakers))], rng, 15, gaps=(0.05,))
        f0, _ = pyworld.dio(voice, make_voices.RATE, frame_period=20.0)
        centre = numpy.median(f0[f0 > 0]) * rng.choice([1.0, 1.2, 1.5, 1.9])
        notes = melody(tempo, bars, beats(style, groove, library), centre / 1.5, centre * 1.5, rng)
        sung = make_voices.resing(voice, notes, rng, draw)
        sung = scipy.signal.sosfilt(
            scipy.signal.butter(2, 110, "high", fs=make_voices.RATE, output="sos"), sung
        )
        sung = compressed(sung, make_voices.RATE, rng.uniform(2, 5))
        if rng.random() < 0.4:  # doubled: the same take, a little later and out of tune
            t = (
                numpy.arange(len(sung)) * (1 + rng.uniform(-0.002, 0.002))
                - rng.uniform(0.015, 0.035) * make_voices.RATE
            )
            sung = sung + rng.uniform(0.4, 0.8) * numpy.interp(t, numpy.arange(len(sung)), sung)
        sung = make_voices.room(sung, rng, draw, len(band) / RATE)
        sung = scipy.signal.resample_poly(sung, 441, 160)
        sung = numpy.pad(sung, (0, max(0, len(band) - len(sung))))[: len(band)]
        usual = numpy.sqrt((band**2).mean()) / max(numpy.sqrt((sung**2).mean()), 1e-9)
        mixed = band + sung * usual * 10 ** (rng.uniform(-2, 7) / 20)
        mixed = limited(mixed, rng.uniform(6, 14) if rng.random() < 0.5 else rng.uniform(0, 3))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(suffix=".wav") as wave:
            soundfile.write(wave.name, 0.95 * mixed, RATE)
            part = target.with_suffix(".part")
            make_voices.run(
                "ffmpeg",
                "-v",
                "error",
                "-y",
                "-i",
                wave.name,
                "-c:a",
                "libvorbis",
                "-q:a",
                5,
                "-f",
                "ogg",
                part,
            )
            part.rename(target)
    except (RuntimeError, OSError, ValueError) as error:
        return f"{target.name}: {error}"
    return None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grooves", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument(
        "--prompts",
        type=pathlib.Path,
        required=True,
        help="folder with the asterisk-core-sounds packages (.deb)",
    )
    parser.add_argument("--songs", type=int, help="in all (one for each clip)")
    parser.add_argument("--seed", type=int, default=1, help="that of the grooves (1)")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--library", type=pathlib.Path, default=pathlib.Path("/usr/share/mma/lib/stdlib")
    )
    options = parser.parse_args()
    styles = make_grooves.grooves(options.library)
    clips = [
        path
        for path in sorted(
            options.grooves.glob("*/*.ogg"), key=lambda p: p.stem.rsplit("-", 1)[::-1]
        )
        if path.parent.name in styles
    ]
    with tempfile.TemporaryDirectory() as work:
        speakers = make_voices.prompts(options.prompts, pathlib.Path(work))
        if not clips or not speakers:
            sys.exit("no grooves, or no asterisk-core-sounds-*-g722 packages: see --help")

        def one(path):
            names = styles[path.parent.name]
            number = int(path.stem.rsplit("-", 1)[1])
            return song(
                path,
                options.out,
                names[number % len(names)],
                options.seed,
                speakers,
                options.library,
            )

        clips = clips[: options.songs]
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for done, failure in enumerate(pool.map(one, clips), 1):
                if failure:
                    print(failure, file=sys.stderr)
                if done % 20 == 0 or done == len(clips):
                    print(f"{done}/{len(clips)} songs", flush=True)


if __name__ == "__main__":
    main()
