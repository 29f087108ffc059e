"""The bank of spoken digits, and the real recordings: whole and verified files only, from a server on this machine."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_hub

from helpers import audio, config
from helpers.data import spoken_digits
from helpers.errors import CourseError


def test_the_bank_is_what_its_provenance_says():
    bank = spoken_digits.load_spoken_digits()
    assert bank.images.shape == (480, 64, 64) and bank.images.dtype == np.uint8
    assert np.bincount(bank.labels).tolist() == [48] * 10 and np.bincount(bank.groups).tolist() == [10] * 48
    assert spoken_digits.verify().startswith("480 spoken words of 48")
    assert len(set(bank.voices)) == 48 and len({image.tobytes() for image in bank.images}) == 480
    assert spoken_digits.BANK.stat().st_size < 2e6
    record = json.loads(spoken_digits.BANK.with_suffix(".json").read_text(encoding="utf-8"))
    assert (config.ROOT / record["script"]).is_file() and record["licence"] == "CC0 1.0"


def test_the_stored_images_are_drawn_from_the_stored_waves():
    bank = spoken_digits.load_spoken_digits()
    assert len(bank.waves) == 10
    for digit, wave in enumerate(bank.waves):
        assert np.array_equal(audio.word_image(wave), bank.images[digit])
        assert 0.1 < len(wave) / audio.RATE < 2 and np.abs(wave).max() <= 1


def test_a_missing_or_damaged_bank_is_a_sentence(tmp_path):
    with pytest.raises(CourseError, match="spoken.npz are missing"):
        spoken_digits.verified(tmp_path / "spoken.npz")
    (tmp_path / "spoken.npz").write_bytes(spoken_digits.BANK.read_bytes()[:-1])
    with pytest.raises(CourseError, match="is not the file that the course was written for"):
        spoken_digits.verified(tmp_path / "spoken.npz")


def test_no_voice_is_on_both_sides_and_splits_are_nested():
    groups = spoken_digits.load_spoken_digits().groups
    one, test = spoken_digits.speaker_split(groups, 1, seed=3)
    many, same = spoken_digits.speaker_split(groups, 24, seed=3)
    assert len(one) == 10 and len(many) == 240 and len(test) == 240
    assert np.array_equal(test, same) and set(one) <= set(many) and not set(groups[many]) & set(groups[test])
    assert set(one) != set(spoken_digits.speaker_split(groups, 1, seed=4)[0])
    for speakers in (0, 25):
        with pytest.raises(ValueError, match=f"{speakers} training speakers of 48: choose 1 to 24"):
            spoken_digits.speaker_split(groups, speakers, seed=0)


def test_the_script_says_what_it_needs(tmp_path):
    script = config.ROOT / "data_scripts" / "make_spoken_digits.py"
    environment = os.environ | {"PATH": str(tmp_path), "PYTHONPATH": str(config.ROOT)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=100)
    assert done.returncode == 1 and done.stderr.startswith("the program espeak-ng is not installed: install it"), done.stderr


NAMES = ("0_ann_0.wav", "7_ann_0.wav", "0_bob_0.wav")


def test_recordings_are_downloaded_once_and_drawn(tmp_path, monkeypatch, capfd):
    files = {name: tiny_hub.recording(place) for place, name in enumerate(NAMES)}
    with tiny_hub.publisher(monkeypatch, tmp_path, "free_spoken_digits", files) as server:
        for _ in range(2):
            real = spoken_digits.load_real_digits()
            assert real.images.shape == (3, 64, 64) and real.labels.tolist() == [0, 7, 0] and real.groups.tolist() == [0, 0, 1]
        waves = spoken_digits.load_real_waves()
    assert len(waves) == 3 and np.array_equal(audio.word_image(waves[1]), real.images[1])
    assert len(server.asked) == 3 and capfd.readouterr() == ("", "")


def test_the_offline_profile_asks_nobody(monkeypatch):
    monkeypatch.delenv("COURSE_PROFILE", raising=False)
    with pytest.raises(CourseError, match="free_spoken_digits .* offline profile: set COURSE_PROFILE=full"):
        spoken_digits.load_real_digits()


def test_the_registry_names_six_people_five_times_each():
    names = spoken_digits.recordings()
    assert len(names) == 300
    assert len({name.split("_")[1] for name in names}) == 6 and {name[0] for name in names} == set("0123456789")


@pytest.mark.skipif("COURSE_TEST_RECORDINGS" not in os.environ, reason="COURSE_TEST_RECORDINGS names no folder of recordings")
def test_the_publishers_recordings_are_speech():
    folder = Path(os.environ["COURSE_TEST_RECORDINGS"])
    real = spoken_digits.read_recordings(folder, spoken_digits.recordings())
    assert real.images.shape == (300, 64, 64) and np.bincount(real.groups).tolist() == [50] * 6
    assert 0.3 < np.mean([audio.recognise("dynamic time warping", real.images, real.labels, np.flatnonzero(real.groups == person),
                                          np.flatnonzero(real.groups != person)) for person in range(6)]) < 0.8
