"""Architectures are built and timed in a process of their own, and parameters are those that the papers and hubs state."""
import subprocess
import sys

import pytest

from helpers import catalogue
from helpers.errors import CourseError


def test_the_first_call_does_not_count():
    calls = []
    assert len(catalogue.latency(lambda: calls.append(1), repeats=2)) == 2 and len(calls) == 3
    with pytest.raises(ValueError, match="repeats is 0"):
        catalogue.latency(lambda: None, repeats=0)


def test_families_are_measured_with_their_contract():
    table = catalogue.measure(["EfficientNetB0", "DenseNet121", "BERT-base", "ViT-base"])
    assert table.parameters.to_dict() == {"EfficientNetB0": 5330571, "DenseNet121": 8062504, "BERT-base": 109482240, "ViT-base": 86389248}
    assert table.loc["EfficientNetB0", "megabytes"] == pytest.approx(21.32, abs=0.01)
    assert table.loc["EfficientNetB0", "red pixel"] == "255, 0, 0" and table.loc["ViT-base", "red pixel"] == "1, -1, -1"
    assert table.loc["BERT-base", "input"] == "up to 512 tokens"
    assert (table.milliseconds > 0).all() and (table.spread >= 0).all()


def test_a_family_that_is_not_known_is_named():
    with pytest.raises(CourseError, match="no family called 'AlexNet'"):
        catalogue.measure(["AlexNet"])


def test_neither_keras_nor_tensorflow_enters_the_process_that_asks():
    code = "import sys; from helpers import catalogue; catalogue.measure(['GPT-2']); print({'keras', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
