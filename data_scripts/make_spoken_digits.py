"""Let eSpeak NG speak the ten digits with 48 voices, and store their spectrograms with their provenance.

    python data_scripts/make_spoken_digits.py [--to FOLDER]

Needs the program espeak-ng (Debian, Ubuntu: apt install espeak-ng; macOS: brew install espeak-ng; Windows: its releases on GitHub); the
lessons do not. It writes spoken_digits.npz and spoken_digits.json; the same versions on the same machine give the same bytes.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL
import scipy

from helpers import audio, config
from helpers.data import spoken_digits

ACCENTS = ("en-gb", "en-us", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-us-nyc", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
TIMBRES = (
    *"m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2 klatt4 croak whisper adam Alex Alicia Andrea Andy Annie".split(),
    *"anika antonio aunty belinda benjamin boris caleb david Denis Diogo ed edward Gene grandma grandpa gustave".split(),
    *"Henrique Hugo iven Jacky john Lee linda marcelo".split(),
)
SPEED, PITCH = (120, 200), (30, 70)  # words a minute, and espeak-ng's scale of 0 to 99: drawn anew for each word
SEED = 0


def program() -> str:
    """The path of espeak-ng. Raises FileNotFoundError when it is not installed."""
    found = shutil.which("espeak-ng")
    if found is None:
        raise FileNotFoundError("the program espeak-ng is not installed: install it (see --help) and run this script again")
    return found


def speak(word: str, voice: str, speed: int, pitch: int, file: Path) -> np.ndarray:
    """The word as a wave at `audio.RATE`. Raises RuntimeError when espeak-ng fails, for example because it lacks the voice."""
    command = [program(), "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(file), word]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or done.stderr.strip():
        raise RuntimeError(f"espeak-ng cannot speak as {voice}: {done.stderr.strip()}")
    return audio.resample(*audio.read_wav(file))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=spoken_digits.BANK.parent, metavar="FOLDER", help="default: helpers/data")
    folder = parser.parse_args().to
    try:
        version = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True).stdout.split("Data at")[0].strip()
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    rng = np.random.default_rng(SEED)
    voices = [f"{ACCENTS[place % len(ACCENTS)]}+{timbre}" for place, timbre in enumerate(TIMBRES)]
    images, waves = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for voice in config.progress(voices, "speak"):
            for word in spoken_digits.WORDS:
                wave = speak(word, voice, int(rng.integers(*SPEED)), int(rng.integers(*PITCH)), Path(scratch) / "word.wav")
                if voice == voices[0]:
                    # Whole numbers first, so that the stored wave and the stored image belong together exactly.
                    wave = (np.clip(wave, -1, 32767 / 32768) * 32768).round().astype(np.int16)
                    waves.append(wave)
                images.append(audio.word_image(wave))
    labels, groups = np.tile(np.arange(10), len(voices)).astype(np.int8), np.repeat(np.arange(len(voices)), 10).astype(np.int8)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / spoken_digits.BANK.name
    lengths = np.array([len(wave) for wave in waves], np.int32)
    np.savez_compressed(path, images=np.stack(images), labels=labels, groups=groups, voices=np.array(voices),
                        waves=np.concatenate(waves), lengths=lengths)
    data = path.read_bytes()
    record = {
        "what": f"{len(images)} log-mel spectrograms of {len(voices)} synthetic voices, and the waves of the first voice",
        "script": f"data_scripts/{Path(__file__).name}",
        "seed": SEED,
        "program": version,
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "pillow": PIL.__version__},
        "licence": "CC0 1.0",
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    path.with_suffix(".json").write_text(text, encoding="utf-8")
    print(f"{len(images)} words, {len(data) / 1e6:.2f} MB, sha256 {record['sha256'][:8]}…")
    return 0


if __name__ == "__main__":
    sys.exit(main())
