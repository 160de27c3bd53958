#!/usr/bin/env python3
"""Makes clips of speech, to fit and evaluate the first guess: scripts/research/music/make_speech.py
DEBS OUT

DEBS holds Debian's packages (apt-get download) that PEOPLE names: recorded prompts of telephone
systems and the dialogue of a game, strung together with pauses to clips of some 28 s. Synthesisers
read a text of our own in eight languages. OUT/fit/SOURCE/NN.wav is for fitting,
OUT/judge/SOURCE/NN.wav, of other speakers and languages, for evaluation. Nothing of it is shipped.
Clips depend only on source and number; existing clips are kept. Needs dpkg-deb,
ffmpeg, espeak-ng, flite, and numpy.
"""

import pathlib
import random
import subprocess
import sys
import tempfile
import wave

import numpy

CLIPS = 24
# Source, where in a package its recordings lie, Hz, for what. Licences: each package's copyright
# file (CC BY-SA 3.0, CC BY 3.0, GPL-2+).
PEOPLE = [
    *(
        (f"asterisk-core-sounds-{language}-g722", "", 16_000, "fit")
        for language in ("en", "es", "fr", "it", "ru")
    ),
    ("fillets-ng-data-cs", "/cs/", 44_100, "fit"),
    ("fillets-ng-data-nl", "/nl/", 44_100, "judge"),
    ("asterisk-prompt-es-co", "", 16_000, "judge"),
    ("asterisk-prompt-fr-armelle", "", 16_000, "judge"),
    ("asterisk-prompt-it-menardi-wav", "", 16_000, "judge"),
]
# No speech: signals of a telephone.
SIGNALS = ("beep", "tone", "silence", "ascending", "descending")
VOICES = ["", "+f2", "+m3", "+f4", "+m7", "+f5"]
FLITE = ["kal", "kal16", "slt", "rms", "awb"]
JUDGED = ["de", "en", "fr"]
TEXTS = {
    "en": "The ferry leaves the harbour at a quarter past seven and does not come back before dusk. Whoever wants to visit "
    "the lighthouse should bring warm clothes, something to eat and a lamp, because the path across the marsh is "
    "narrow. Last year two visitors lost their way and had to spend the night in a barn. They said afterwards that it "
    "had been the best evening of their journey, for the farmer told them stories about the sea until the fire went "
    "out.",
    "de": "Die Fähre verlässt den Hafen um Viertel nach sieben und kommt erst bei Einbruch der Dämmerung zurück. Wer den "
    "Leuchtturm besuchen möchte, sollte warme Kleidung, etwas zu essen und eine Lampe mitnehmen, denn der Weg über "
    "das Moor ist schmal. Im vergangenen Jahr haben sich zwei Besucher verlaufen und mussten die Nacht in einer "
    "Scheune verbringen. Sie sagten später, es sei der schönste Abend ihrer Reise gewesen.",
    "fr": "Le bac quitte le port à sept heures et quart et ne revient qu'à la tombée de la nuit. Celui qui veut visiter le "
    "phare doit emporter des vêtements chauds, de quoi manger et une lampe, car le sentier à travers le marais est "
    "étroit. L'an dernier, deux visiteurs se sont perdus et ont dû passer la nuit dans une grange. Ils ont dit plus "
    "tard que c'était la plus belle soirée de leur voyage.",
    "es": "El transbordador sale del puerto a las siete y cuarto y no vuelve hasta el anochecer. Quien quiera visitar el "
    "faro debe llevar ropa de abrigo, algo de comer y una lámpara, porque el camino por el pantano es estrecho. El "
    "año pasado dos visitantes se perdieron y tuvieron que pasar la noche en un granero. Dijeron después que había "
    "sido la mejor noche de su viaje.",
    "it": "Il traghetto lascia il porto alle sette e un quarto e non torna prima del tramonto. Chi vuole visitare il faro "
    "deve portare abiti caldi, qualcosa da mangiare e una lampada, perché il sentiero attraverso la palude è stretto. "
    "L'anno scorso due visitatori si sono persi e hanno dovuto passare la notte in un fienile. Dissero poi che era "
    "stata la sera più bella del loro viaggio.",
    "pl": "Prom opuszcza port kwadrans po siódmej i wraca dopiero o zmierzchu. Kto chce zwiedzić latarnię morską, powinien "
    "zabrać ciepłe ubranie, coś do jedzenia i lampę, bo ścieżka przez bagna jest wąska. W zeszłym roku dwóch gości "
    "zgubiło drogę i musiało spędzić noc w stodole. Mówili potem, że był to najpiękniejszy wieczór ich podróży.",
    "pt": "A balsa deixa o porto às sete e um quarto e só volta ao anoitecer. Quem quiser visitar o farol deve levar roupa "
    "quente, alguma coisa para comer e uma lâmpada, porque o caminho pelo pântano é estreito. No ano passado dois "
    "visitantes perderam-se e tiveram de passar a noite num celeiro.",
    "ru": "Паром отходит из гавани в четверть восьмого и возвращается только в сумерках. Кто хочет посетить маяк, должен "
    "взять тёплую одежду, еду и лампу, потому что тропа через болото узкая. В прошлом году двое гостей заблудились и "
    "провели ночь в сарае.",
}


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    return (
        done.stdout
        if done.returncode == 0
        else sys.exit(f"{command[0]}: {done.stderr.decode(errors='replace')}")
    )


def decoded(path, rate):
    """Mono samples, without quiet beginning and end."""
    samples = numpy.frombuffer(
        run("ffmpeg", "-v", "error", "-i", path, "-f", "f32le", "-ac", 1, "-ar", rate, "-"),
        numpy.float32,
    )
    loud = numpy.flatnonzero(abs(samples) > 0.02 * abs(samples).max(initial=0))
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]


def strung(paths, rate, draw):
    """Recordings with pauses between them."""
    parts, wanted = [], draw.uniform(22, 34) * rate
    while sum(map(len, parts)) < wanted:
        samples = decoded(draw.choice(paths), rate)
        if len(samples) >= rate / 4:
            parts += [
                0.6 * samples / abs(samples).max(),
                numpy.zeros(int(draw.uniform(0.15, 0.7) * rate)),
            ]
    return numpy.concatenate(parts)


def write(path, samples, rate):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((32767 * samples).astype("<i2").tobytes())


def people(debs, out):
    for source, part, rate, use in PEOPLE:
        folder = out / use / source
        package = next(iter(debs.glob(f"{source}_*.deb")), None) or sys.exit(
            f"{debs}: expected {source}_*.deb (apt-get download {source})"
        )
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as unpacked:
            run("dpkg-deb", "-x", package, unpacked)
            files = sorted(
                p
                for p in pathlib.Path(unpacked).rglob("*")
                if p.suffix in (".g722", ".gsm", ".wav", ".ogg")
            )
            files = [
                p
                for p in files
                if part in str(p)
                and p.stat().st_size > 3000
                and not any(s in p.name or s in p.parts for s in SIGNALS)
            ]
            for number in range(CLIPS):
                path = folder / f"{number:02}.wav"
                if not path.exists():
                    write(path, strung(files, rate, random.Random(f"{source} {number}")), rate)
        print(f"{folder}: {CLIPS} clips of {len(files)} recordings")


def synthesisers(out):
    for language, text in TEXTS.items():
        folder = out / ("judge" if language in JUDGED else "fit") / f"espeak-{language}"
        folder.mkdir(parents=True, exist_ok=True)
        for number, voice in enumerate(VOICES):
            draw = random.Random(f"{language} {number}")
            speed, pitch = draw.randint(120, 190), draw.randint(30, 70)
            run(
                "espeak-ng",
                "-v",
                language + voice,
                "-s",
                speed,
                "-p",
                pitch,
                "-w",
                folder / f"{number:02}.wav",
                text,
            )
    folder = out / "judge" / "flite"
    folder.mkdir(parents=True, exist_ok=True)
    for voice in FLITE:
        run("flite", "-voice", voice, "-t", TEXTS["en"], "-o", folder / f"{voice}.wav")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    debs, out = map(pathlib.Path, sys.argv[1:])
    people(debs, out)
    synthesisers(out)


if __name__ == "__main__":
    main()
