#!/usr/bin/env python3
"""Makes the golden audio files of this folder and reference.json.

    python3 generate.py          (needs numpy, ffmpeg with libmp3lame, libvorbis, libopus; flac; opusenc)

The files hold a synthetic signal (seed 7): three decaying chords, a sweep and noise, different left
and right. reference.json holds, for each file, what FFmpeg decodes it to: the number of frames and
the mean of the channels (the LFE channel left out) at 32 positions. VERSIONS.txt says which
programs made them.
"""

import json
import pathlib
import subprocess

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
TMP = pathlib.Path("/tmp/voisin-golden")
TMP.mkdir(exist_ok=True)


SOURCE_FRAMES = {"aac.m4a": 48510, "mono.m4a": 33075, "alac.m4a": 8820, "opus.mp4": 48000}
# Frames that FFmpeg cuts and voisin does not: before the sound by an edit list, behind it by Matroska's padding.
BEFORE = {"aac.m4a": 1024, "mono.m4a": 1024}
BEHIND = {"opus.webm": 648}


def signal(rate, seconds, channels):
    rng = np.random.default_rng(7)
    n = int(rate * seconds)
    t = np.arange(n) / rate
    out = np.zeros((channels, n))
    for c in range(channels):
        for k, root in enumerate((196.0, 261.63, 329.63)):
            start = k * seconds / 3
            on = t >= start
            decay = np.exp(-3.0 * (t - start)) * on
            for h in range(1, 6):
                f = root * h * (1 + 0.003 * c)
                if f < 0.45 * rate:
                    out[c] += 0.12 / h * decay * np.sin(2 * np.pi * f * (t - start))
        sweep = 80 + (min(6000, 0.4 * rate) - 80) * t / seconds
        out[c] += 0.1 * np.sin(2 * np.pi * np.cumsum(sweep) / rate + c)
        noise = np.convolve(rng.standard_normal(n + 15), np.ones(16) / 16, "valid")
        out[c] += 0.05 * noise[:n]
    return (0.9 * out / np.abs(out).max()).T


def wav(name, rate, seconds, channels):
    path = TMP / name
    data = signal(rate, seconds, channels).astype("<f4")
    subprocess.run(
        [
            "ffmpeg",
            "-y",
            "-loglevel",
            "error",
            "-f",
            "f32le",
            "-ar",
            str(rate),
            "-ac",
            str(channels),
            "-i",
            "-",
            "-c:a",
            "pcm_f32le",
            str(path),
        ],
        input=data.tobytes(),
        check=True,
    )
    return path


def encode(source, name, *args):
    subprocess.run(
        [
            "ffmpeg",
            "-y",
            "-loglevel",
            "error",
            "-i",
            str(source),
            "-map_metadata",
            "-1",
            "-fflags",
            "+bitexact",
            "-flags:a",
            "+bitexact",
            *args,
            str(HERE / name),
        ],
        check=True,
    )


def main():
    stereo = wav("stereo.wav", 44100, 1.1, 2)
    mono = wav("mono.wav", 44100, 0.2, 1)
    speech = wav("speech.wav", 22050, 1.5, 1)
    tiny = wav("tiny.wav", 8000, 0.15, 2)
    high = wav("high.wav", 96000, 0.05, 1)
    highest = wav("highest.wav", 192000, 0.025, 1)
    surround = wav("surround.wav", 48000, 0.4, 6)
    mid = wav("mid.wav", 48000, 1.0, 2)

    # Metadata is cut above by -map_metadata -1; the LAME header is kept (no bitexact) for its delay
    # and padding.
    lame = ["ffmpeg", "-y", "-loglevel", "error", "-i"]
    subprocess.run(
        [*lame, str(stereo), "-c:a", "libmp3lame", "-b:a", "128k", str(HERE / "cbr.mp3")],
        check=True,
    )
    subprocess.run(
        [*lame, str(stereo), "-c:a", "libmp3lame", "-q:a", "5", str(HERE / "vbr.mp3")], check=True
    )
    subprocess.run(
        [*lame, str(speech), "-c:a", "libmp3lame", "-b:a", "16k", str(HERE / "mpeg2.mp3")],
        check=True,
    )
    subprocess.run(
        [*lame, str(tiny), "-c:a", "libmp3lame", "-b:a", "8k", str(HERE / "mpeg25.mp3")], check=True
    )
    encode(
        stereo,
        "noxing.mp3",
        "-c:a",
        "libmp3lame",
        "-b:a",
        "64k",
        "-write_xing",
        "0",
        "-id3v2_version",
        "0",
    )
    encode(mid, "layer2.mp2", "-c:a", "mp2", "-b:a", "128k")
    # Without noise substitution every decoder gives the same; adts.aac has it.
    encode(stereo, "aac.m4a", "-c:a", "aac", "-b:a", "96k", "-aac_pns", "0")
    encode(
        speech, "mono.m4a", "-c:a", "aac", "-b:a", "32k", "-aac_pns", "0", "-movflags", "+faststart"
    )
    encode(stereo, "adts.aac", "-c:a", "aac", "-b:a", "64k")
    encode(mono, "alac.m4a", "-c:a", "alac", "-sample_fmt", "s16p")
    encode(mono, "mono.flac", "-c:a", "flac", "-sample_fmt", "s16")
    encode(high, "high.flac", "-c:a", "flac", "-sample_fmt", "s32")
    encode(mono, "flac.oga", "-c:a", "flac", "-sample_fmt", "s16")
    encode(stereo, "vorbis.ogg", "-c:a", "libvorbis", "-q:a", "2")
    encode(mid, "music.opus", "-c:a", "libopus", "-b:a", "64k")
    encode(speech, "speech.opus", "-c:a", "libopus", "-b:a", "12k", "-application", "voip")
    encode(
        surround,
        "surround.opus",
        "-c:a",
        "libopus",
        "-b:a",
        "128k",
        "-mapping_family",
        "1",
        "-ac",
        "6",
    )
    encode(mid, "opus.webm", "-c:a", "libopus", "-b:a", "48k")
    encode(stereo, "vorbis.mka", "-c:a", "libvorbis", "-q:a", "1")
    encode(mono, "flac.mka", "-c:a", "flac", "-sample_fmt", "s16")
    encode(mid, "opus.mp4", "-c:a", "libopus", "-b:a", "48k", "-strict", "-2")
    encode(tiny, "u8.wav", "-c:a", "pcm_u8")
    encode(tiny, "s16.wav", "-c:a", "pcm_s16le")
    encode(tiny, "s24.wav", "-c:a", "pcm_s24le")
    encode(tiny, "s32.wav", "-c:a", "pcm_s32le")
    encode(tiny, "f32.wav", "-c:a", "pcm_f32le")
    encode(tiny, "f64.wav", "-c:a", "pcm_f64le")
    encode(tiny, "mulaw.wav", "-c:a", "pcm_mulaw")
    encode(tiny, "adpcm.wav", "-c:a", "adpcm_ima_wav")
    encode(highest, "highest.wav", "-c:a", "pcm_s16le")
    encode(wav("six.wav", 8000, 0.05, 6), "surround.wav", "-c:a", "pcm_s16le")
    encode(tiny, "s16.aiff", "-c:a", "pcm_s16be")
    encode(tiny, "s24.aiff", "-c:a", "pcm_s24be")
    encode(tiny, "s16.caf", "-c:a", "pcm_s16be")
    encode(tiny, "alac.caf", "-c:a", "alac", "-sample_fmt", "s16p")

    reference = {}
    for path in sorted(HERE.iterdir()):
        if path.suffix in (".py", ".json", ".txt", ".md"):
            continue
        probe = json.loads(
            subprocess.run(
                [
                    "ffprobe",
                    "-v",
                    "error",
                    "-select_streams",
                    "a:0",
                    "-show_entries",
                    "stream=sample_rate,channels",
                    "-of",
                    "json",
                    str(path),
                ],
                capture_output=True,
                check=True,
            ).stdout
        )["streams"][0]
        rate, channels = int(probe["sample_rate"]), int(probe["channels"])
        # FFmpeg has an Opus decoder of its own; the reference is libopus.
        opus = ["-c:a", "libopus"] if "opus" in path.name else []
        raw = subprocess.run(
            [
                "ffmpeg",
                "-v",
                "error",
                *opus,
                "-i",
                str(path),
                "-f",
                "f32le",
                "-c:a",
                "pcm_f32le",
                "-",
            ],
            capture_output=True,
            check=True,
        ).stdout
        pcm = np.frombuffer(raw, "<f4").reshape(-1, channels).astype(np.float64)
        if channels == 6:
            pcm = np.delete(pcm, 3, axis=1)
        mean = pcm.mean(axis=1)
        # FFmpeg leaves the padding at the end of MP4 files; they are cut to the length of their
        # source here.
        if path.suffix in (".m4a", ".mp4"):
            mean = mean[: SOURCE_FRAMES[path.name]]
        positions = np.linspace(0, len(mean) - 1, 32).astype(int)
        before = BEFORE.get(path.name, 0)
        reference[path.name] = {
            "rate": rate,
            "channels": channels,
            "frames": before + len(mean) + BEHIND.get(path.name, 0),
            "positions": (before + positions).tolist(),
            "values": [round(float(v), 6) for v in mean[positions]],
        }
    text = json.dumps(reference, indent=None, separators=(",", ":")).replace('},"', '},\n"')
    (HERE / "reference.json").write_text(text + "\n")
    versions = subprocess.run(
        ["ffmpeg", "-version"], capture_output=True, text=True
    ).stdout.splitlines()[0]
    (HERE / "VERSIONS.txt").write_text(f"{versions}\nnumpy {np.__version__}\n")
    total = sum(path.stat().st_size for path in HERE.iterdir())
    print(f"{total / 1024:.0f} KiB in {len(reference)} files")


main()
