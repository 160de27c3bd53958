#!/usr/bin/env python3
"""Makes human voices to mix into training music: scripts/research/music/make_voices.py OUT [--clips N]
[--seed S].

Writes mono clips of about 20 s: OUT/spoken/KIND-NUMBER.ogg (telephone prompts of real
speakers, strung together) and OUT/sung/KIND-NUMBER.ogg (random words on a random melody), and for
each sung clip OUT/notes/KIND-NUMBER.tsv (start and length in seconds, frequency in hertz; 0 is a
rest). The clips are only for training: no accuracy is reported on them. Sung clips are of three
kinds:

- resung: the same prompts, split into syllables, each stretched to the length of a note and shifted
  to its pitch with the WORLD vocoder (Morise et al., 2016), so that the timbre stays that
  of a person;
- festival: Festival's singing mode (Mazzoni, 2001) with its diphone voices;
- robot: espeak-ng or Festival's HTS voice, spoken, and then resung in the same way.

Melodies are random walks in a random scale with partial repeats; there are glides, vibrato, other
registers and vocal tracts, second voices, rooms. Needs dpkg-deb, ffmpeg, festival, espeak-ng, and
in Python numpy, scipy, soundfile and pyworld; --prompts names a folder with Debian's
asterisk-core-sounds-{en,es,fr,it,ru}-g722 packages (.deb), Festival's voices are those of
festvox-kallpc16k, festvox-us-slt-hts, festvox-italp16k and festvox-itapc16k. Clips depend only on
the seed, their kind and number. Existing clips are kept.

Licences, by the packages' copyright files: the prompts are CC BY-SA 3.0, those in Italian and
Russian CC BY 3.0; recorded by Allison Smith (en; named for es too), June Wallack (fr), Carlo Flora
(it) and Maxim Topal (ru). A clip made of them may only be distributed under the same licence and
must name them. kal and slt: free, with notice (Alan W Black and Kevin Lenzo; Carnegie Mellon
University); the Italian voices and espeak-ng are GPL, which does not cover their output.
"""

import argparse
import concurrent.futures
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy
import pyworld
import scipy.ndimage
import scipy.signal
import soundfile

RATE = 16000
FRAME = 0.005
SECONDS = 20.0
SCALES = [
    [0, 2, 4, 5, 7, 9, 11],
    [0, 2, 3, 5, 7, 8, 10],
    [0, 2, 4, 7, 9],
    [0, 3, 5, 7, 10],
    [0, 2, 3, 5, 7, 9, 10],
    [0, 2, 4, 5, 7, 9, 10],
    [0, 2, 3, 5, 7, 8, 11],
    [0, 3, 5, 6, 7, 10],
]
ENGLISH = (
    "love moon night day sun rain road home heart soul dream fire star sea wind blue gold time mind eyes you me we "
    "stay go run fall rise burn shine hold know show low high sky cry die fly oh ah la na hey yeah one more light "
    "cold old young free gone long song strong deep sleep keep"
).split()
ITALIAN = "la mi sol re fa si do no tu blu mar cuor ciel fior amor sol vien qui giu lo va sta per con".split()
FESTIVAL = {
    "kal_diphone": (ENGLISH, 110, 240),
    "lp_diphone": (ITALIAN, 180, 400),
    "pc_diphone": (ITALIAN, 100, 220),
}
ESPEAK = [
    "en-us",
    "en-us+f2",
    "en-us+f4",
    "en-us+m3",
    "en-us+m7",
    "fr-fr+f3",
    "es+m1",
    "it+f5",
    "de+m4",
    "pt-br+f1",
    "sv+m2",
]


def run(*command, data=None):
    """Runs a program; its message is the error's when it fails."""
    done = subprocess.run(list(map(str, command)), input=data, capture_output=True)
    if done.returncode:
        raise RuntimeError(
            f"{command[0]}: {done.stderr.decode(errors='replace').strip().splitlines()[-1:]}"
        )
    return done.stdout


def prompts(folder, work):
    """Unpacks the packages; maps a language to its prompts (paths), without tones and silence."""
    found = {}
    for package in sorted(folder.glob("asterisk-core-sounds-*-g722_*.deb")):
        language = package.name.split("-")[3]
        target = work / language
        run("dpkg-deb", "-x", package, target)
        paths = sorted(target.rglob("*.g722"))
        found[language] = [
            p
            for p in paths
            if p.stat().st_size > 4000
            and "silence" not in p.parts
            and not any(w in p.name for w in ("beep", "tone", "beeperr", "ascending", "descending"))
        ]
    return found


def decode(*paths):
    """Audio files as mono samples at RATE: one program for all, which is most of the time
    otherwise.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = [], []
        for i, path in enumerate(paths):
            inputs += ["-i", path]
            outputs += ["-map", f"{i}:a:0", "-f", "f32le", "-ac", 1, "-ar", RATE, f"{folder}/{i}"]
        run("ffmpeg", "-v", "error", "-threads", 1, *inputs, *outputs)
        return [
            numpy.fromfile(f"{folder}/{i}", numpy.float32).astype(float) for i in range(len(paths))
        ]


def trim(samples, floor=0.02):
    """Without quiet beginning and end."""
    loud = numpy.flatnonzero(abs(samples) > floor * max(abs(samples).max(initial=0), 1e-9))
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]


def speech(paths, rng, seconds, gaps=(0.0, 0.0, 0.05, 0.1, 0.25, 0.6)):
    """Prompts of one speaker, one after the other."""
    parts, length, ready = [], 0, []
    while length < seconds * RATE:
        ready = ready or [trim(samples) for samples in decode(*rng.choices(paths, k=12))]
        part = ready.pop()
        if len(part) > 0.2 * RATE:
            part = part / max(numpy.sqrt((part**2).mean()), 1e-6) * 0.1
            parts += [part, numpy.zeros(int(rng.choice(gaps) * RATE))]
            length += len(parts[-2]) + len(parts[-1])
    return numpy.concatenate(parts)


def melody(rng, low, high, seconds):
    """Notes as (start, length, hertz; 0 for a rest): phrases that walk in a scale and sometimes
    come back.
    """
    scale, key, beat = rng.choice(SCALES), rng.randrange(12), 60 / rng.uniform(62, 140)
    pitches = [
        k
        for k in range(24, 96)
        if (k - key) % 12 in scale and low <= 440 * 2 ** ((k - 69) / 12) <= high
    ]
    notes, at, phrases = [], 0.0, []
    while at < seconds:
        if phrases and rng.random() < 0.4:
            phrase = rng.choice(phrases)
        else:
            place, phrase = rng.randrange(len(pitches)), []
            for _ in range(rng.randint(4, 9)):
                place += rng.choice([-1, 1, -1, 1, 0, -2, 2, rng.choice([-4, 3, 4])])
                place = min(max(place, 0), len(pitches) - 1)
                phrase.append((pitches[place], rng.choice([0.5, 0.5, 1, 1, 1, 1.5, 2])))
            phrase[-1] = (phrase[-1][0], rng.choice([2, 3, 4]))
            phrases.append(phrase)
        for pitch, beats in phrase:
            notes.append((at, beats * beat, 440 * 2 ** ((pitch - 69) / 12)))
            at += beats * beat
        rest = rng.choice([0.5, 1, 1, 2]) * beat
        notes.append((at, rest, 0.0))
        at += rest
    return notes


def syllables(voice, f0):
    """Where each syllable begins, sounds most and ends, in frames: peaks of the loudness where
    there is a pitch.
    """
    step = int(RATE * FRAME)
    power = numpy.concatenate([[0.0], numpy.cumsum(voice**2)])
    edges = numpy.minimum(numpy.arange(len(f0)) * step, len(voice))
    ends = numpy.minimum(edges + 4 * step, len(voice))
    loud = numpy.sqrt((power[ends] - power[edges]) / (4 * step) + 1e-12)
    smooth = scipy.ndimage.gaussian_filter1d(20 * numpy.log10(loud) * (f0 > 0) - 90 * (f0 == 0), 4)
    peaks, _ = scipy.signal.find_peaks(smooth, height=-45, distance=24, prominence=2)
    found = []
    for i, peak in enumerate(peaks):
        before = peaks[i - 1] if i else max(peak - 60, 0)
        after = peaks[i + 1] if i + 1 < len(peaks) else min(peak + 60, len(f0) - 1)
        begin = before + int(numpy.argmin(loud[before : peak + 1]))
        end = peak + int(numpy.argmin(loud[peak : after + 1]))
        if f0[peak] > 0 and end - begin > 12:
            found.append((max(begin, peak - 50), int(peak), min(end, peak + 50)))
    return found


def positions(syllable, frames):
    """Which source frame each frame of a note takes: consonants as they were, the vowel held."""
    begin, peak, end = syllable
    head, tail = max(peak - 4 - begin, 0), max(end - peak - 4, 0)
    if head + tail > 0.6 * frames:
        shrink = 0.6 * frames / (head + tail)
        onset, coda = int(head * shrink), int(tail * shrink)
    else:
        onset, coda = head, tail
    held = frames - onset - coda
    # The vowel's middle, to and fro: a frozen frame buzzes.
    sway = (
        peak - 4 + 4 * (1 - numpy.cos(numpy.linspace(0, numpy.pi * max(1, round(held / 40)), held)))
    )
    return numpy.concatenate(
        [
            numpy.linspace(begin, peak - 4, onset, endpoint=False),
            sway,
            numpy.linspace(peak + 4, end, coda),
        ]
    )[:frames]


def contour(notes, count, draw, depth, scoop):
    """Hertz for each frame: the notes, joined by glides, with vibrato on long ones and a little
    unsteadiness.
    """
    cents = numpy.zeros(count)
    last = next((h for _, _, h in notes if h), 220.0)
    for start, length, hertz in notes:
        a, b = int(start / FRAME), min(int((start + length) / FRAME), count)
        last = hertz or last
        cents[a:b] = 1200 * numpy.log2(last / 440)
        if hertz and b > a:
            t = numpy.arange(b - a) * FRAME
            swell = numpy.clip((t - 0.25) / 0.3, 0, 1)
            cents[a:b] += depth * swell * numpy.sin(2 * numpy.pi * draw.uniform(4.8, 6.4) * t)
            cents[a:b] -= scoop * numpy.exp(-t / 0.05)
    unsteady = scipy.ndimage.gaussian_filter1d(draw.normal(size=count), 12)
    cents = scipy.ndimage.gaussian_filter1d(cents, 6) + unsteady / max(
        unsteady.std(), 1e-9
    ) * draw.uniform(4, 10)
    return 440 * 2 ** (cents / 1200)


def between(table, at):
    """Rows of a table at fractional places."""
    low = numpy.clip(at.astype(int), 0, len(table) - 1)
    high = numpy.minimum(low + 1, len(table) - 1)
    part = (at - low)[:, None]
    return table[low] * (1 - part) + table[high] * part


def resing(voice, notes, rng, draw):
    """The voice's syllables on the notes; the samples. A second voice sings along in some."""
    f0, times = pyworld.dio(voice, RATE, frame_period=1000 * FRAME)
    f0 = pyworld.stonemask(voice, f0, times, RATE)
    envelope = pyworld.cheaptrick(voice, f0, times, RATE)
    noise = pyworld.d4c(voice, f0, times, RATE)
    parts = syllables(voice, f0)
    if len(parts) < 4:
        raise RuntimeError("no syllables were found")
    count = int((notes[-1][0] + notes[-1][1]) / FRAME)
    place, sounding = numpy.zeros(count), numpy.zeros(count)
    turn = rng.randrange(len(parts))
    for start, length, hertz in notes:
        a, b = int(start / FRAME), min(int((start + length) / FRAME), count)
        if hertz and b - a > 8:
            if rng.random() > 0.2:  # else the syllable is sung on: a melisma
                turn = (turn + 1) % len(parts)
            place[a:b] = positions(parts[turn], b - a)
            sounding[a:b] = 1
            sounding[b - 6 : b] = numpy.linspace(1, 0.2, 6)
    log = between(numpy.log(envelope), place)
    tract = rng.uniform(0.88, 1.16)
    bins = numpy.arange(log.shape[1])
    log = scipy.ndimage.map_coordinates(
        log,
        numpy.meshgrid(numpy.arange(count), numpy.minimum(bins * tract, bins[-1]), indexing="ij"),
        order=1,
    )
    # Loud and quiet syllables are brought nearer to each other, as singers do.
    level = numpy.log(numpy.exp(log).mean(1) + 1e-16)
    log -= 0.6 * (level - numpy.median(level[sounding > 0]))[:, None]
    log += 2 * numpy.log(scipy.ndimage.gaussian_filter1d(sounding, 2) + 1e-5)[:, None]
    aperiodic = numpy.clip(between(noise, place) * rng.uniform(0.6, 1.0), 1e-6, 1 - 1e-6)
    voiced = (between((f0 > 0).astype(float)[:, None], place)[:, 0] > 0.5) & (sounding > 0)
    depth, scoop = rng.uniform(10, 70), rng.choice([0, 30, 120])
    voices = [(1.0, 1.0)]
    if rng.random() < 0.3:
        voices.append(
            (
                rng.choice([0.5, 2 ** (-5 / 12), 2 ** (4 / 12), 2 ** (7 / 12), 1.0]),
                rng.uniform(0.3, 0.8),
            )
        )
    total = numpy.zeros(int(count * FRAME * RATE) + RATE)
    for ratio, gain in voices:
        pitch = contour(notes, count, draw, depth, scoop) * ratio
        sung = pyworld.synthesize(
            numpy.where(voiced, pitch, 0.0),
            numpy.ascontiguousarray(numpy.exp(log)),
            numpy.ascontiguousarray(aperiodic),
            RATE,
            1000 * FRAME,
        )
        late = 0 if ratio == gain == 1 else int(draw.uniform(0, 0.03) * RATE)
        total[late : late + len(sung)] += gain * sung[: len(total) - late]
    return total


def festival(notes, name, words, rng, folder):
    """Festival's singing mode on the notes."""
    lines = [
        '<?xml version="1.0"?>',
        '<!DOCTYPE SINGING PUBLIC "-//SINGING//DTD SINGING mark up//EN" "Singing.v0_1.dtd" []>',
        '<SINGING BPM="60">',
    ]
    for _, length, hertz in notes:
        if hertz:
            lines.append(
                f'<PITCH FREQ="{hertz:.2f}"><DURATION SECONDS="{length:.3f}">{rng.choice(words)}</DURATION></PITCH>'
            )
        else:
            lines.append(f'<REST SECONDS="{length:.3f}"></REST>')
    (folder / "song.xml").write_text("\n".join(lines) + "\n</SINGING>\n")
    run(
        "text2wave",
        "-mode",
        "singing",
        "-eval",
        f"(voice_{name})",
        folder / "song.xml",
        "-o",
        folder / "song.wav",
    )
    return decode(folder / "song.wav")[0]


def robot(rng, folder):
    """Synthetic speech to be resung."""
    if rng.random() < 0.3:
        (folder / "text").write_text(" ".join(rng.choice(ENGLISH) for _ in range(60)) + "\n")
        run(
            "text2wave",
            "-eval",
            "(voice_cmu_us_slt_arctic_hts)",
            folder / "text",
            "-o",
            folder / "spoken.wav",
        )
    else:
        text = " ".join(rng.choice(ENGLISH + ITALIAN) for _ in range(60))
        run(
            "espeak-ng",
            "-v",
            rng.choice(ESPEAK),
            "-s",
            rng.randint(110, 160),
            "-p",
            rng.randint(25, 75),
            "-w",
            folder / "spoken.wav",
            text,
        )
    return decode(folder / "spoken.wav")[0]


def room(samples, rng, draw, seconds=SECONDS):
    """A random room, chorus in some, cut, the ends faded, level set."""
    wet = rng.choice([0.0, 0.1, 0.2, 0.35])
    if wet:
        decay = rng.uniform(0.3, 2.2)
        t = numpy.arange(int(decay * RATE)) / RATE
        tail = draw.normal(size=len(t)) * 10 ** (-3 * t / decay)
        tail = scipy.signal.lfilter([1 - 0.4], [1, -0.4], tail)
        reverb = scipy.signal.fftconvolve(samples, tail / numpy.sqrt((tail**2).sum()))[
            : len(samples)
        ]
        samples = samples + wet * reverb * 1.5
    if rng.random() < 0.3:
        t = numpy.arange(len(samples))
        for _ in range(2):
            delay = (
                0.018
                + 0.004
                * numpy.sin(2 * numpy.pi * rng.uniform(0.2, 0.7) * t / RATE + rng.uniform(0, 6))
            ) * RATE
            samples = samples + 0.4 * numpy.interp(t - delay, t, samples)
    fade = int(0.05 * RATE)
    samples = samples[: int(seconds * RATE)].copy()
    samples[:fade] *= numpy.linspace(0, 1, fade)
    samples[-fade:] *= numpy.linspace(1, 0, fade)
    samples *= 0.1 / max(numpy.sqrt((samples**2).mean()), 1e-9)
    return samples / max(1.0, abs(samples).max() / 0.95)


def make(out, kind, number, seed, voices):
    """Writes one clip; returns None, or why it could not."""
    sung = kind.split("-")[0] in ("resung", "festival", "robot")
    target = out / ("sung" if sung else "spoken") / f"{kind}-{number:03}.ogg"
    if target.exists():
        return None
    rng = random.Random(f"{seed} {kind} {number}")
    draw = numpy.random.default_rng(rng.getrandbits(64))
    try:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            notes = None
            if not sung:
                samples = speech(voices[kind], rng, SECONDS + 1)
            elif kind.startswith("festival"):
                name = rng.choice(sorted(FESTIVAL))
                words, low, high = FESTIVAL[name]
                notes = melody(rng, low, high, SECONDS)
                samples = festival(notes, name, words, rng, folder)
            else:
                voice = (
                    robot(rng, folder)
                    if kind == "robot"
                    else speech(voices[kind.split("-")[1]], rng, 15, gaps=(0.05,))
                )
                f0, _ = pyworld.dio(voice, RATE, frame_period=20.0)
                centre = numpy.median(f0[f0 > 0]) * rng.choice([0.9, 1.1, 1.3, 1.5, 1.9])
                notes = melody(rng, centre / 1.45, centre * 1.45, SECONDS)
                samples = resing(voice, notes, rng, draw)
            samples = room(samples, rng, draw)
            soundfile.write(folder / "clip.wav", samples, RATE)
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_suffix(".part")
            run(
                "ffmpeg",
                "-v",
                "error",
                "-y",
                "-i",
                folder / "clip.wav",
                "-ar",
                44100,
                "-c:a",
                "libvorbis",
                "-q:a",
                4,
                "-f",
                "ogg",
                part,
            )
            if notes:
                (out / "notes").mkdir(exist_ok=True)
                text = "".join(f"{a:.3f}\t{n:.3f}\t{h:.2f}\n" for a, n, h in notes)
                (out / "notes" / f"{target.stem}.tsv").write_text(text)
            part.rename(target)
    except (RuntimeError, OSError, ValueError) as error:
        return f"{target.name}: {error}"
    return None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument(
        "--clips", type=int, default=400, help="in all; three in eight are spoken (400)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--prompts",
        type=pathlib.Path,
        default=pathlib.Path("."),
        help="folder with the .deb files (.)",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        voices = prompts(options.prompts, pathlib.Path(work))
        if not voices:
            sys.exit(
                f"no asterisk-core-sounds-*-g722 packages in {options.prompts}: fetch them (apt-get download), or name "
                "their folder with --prompts"
            )
        languages = sorted(voices)
        spoken, counts, jobs = options.clips * 3 // 8, {}, []
        for i in range(options.clips):
            if i % 8 in (0, 3, 6) and spoken > 0:
                kind, spoken = languages[i // 2 % len(languages)], spoken - 1
            else:
                kind = ["resung", "resung", "festival", "resung", "robot"][i % 5]
                kind += "-" + languages[i // 3 % len(languages)] if kind == "resung" else ""
            jobs.append((kind, counts.setdefault(kind, 0)))
            counts[kind] += 1
        failures = 0
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            results = pool.map(lambda job: make(options.out, *job, options.seed, voices), jobs)
            for done, failure in enumerate(results, 1):
                if failure:
                    failures += 1
                    print(failure, file=sys.stderr)
                if done % 20 == 0 or done == len(jobs):
                    print(f"{done}/{len(jobs)} clips, {failures} failed", flush=True)


if __name__ == "__main__":
    main()
