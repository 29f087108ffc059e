"""A card holds what was measured, names its file, and is read by the hub's own library."""
from dataclasses import replace

import huggingface_hub
import pytest

from helpers import model_card
from helpers.errors import CourseError


@pytest.fixture
def card(tmp_path):
    file = tmp_path / "net.onnx"
    file.write_bytes(b"weights")
    return model_card.Card(
        name="photo-net", file=file, purpose="Names photographs.", not_for=["people"], limits=["grey pictures: accuracy 0.68"],
        data="19 photographs.", licence="cc0-1.0", base="EfficientNet-Lite0", classes=["cat", "dog"],
        measured=[model_card.Measurement("accuracy", 0.8312, "± 0.009 (sd of 3)", "760 patches")], watch={"drift": "six scores"},
    )


def test_the_hub_reads_the_head_and_the_text_has_the_figures(card, tmp_path):
    path = model_card.write(card, tmp_path / "README.md")
    text = path.read_text(encoding="utf-8")
    head = huggingface_hub.ModelCard(text).data
    assert head.license == "cc0-1.0" and head.base_model == "EfficientNet-Lite0"
    assert head.eval_results[0].metric_value == 0.8312 and head.eval_results[0].dataset_name == "760 patches"
    for part in ("| 0.831 | ± 0.009 (sd of 3) |", "grey pictures", "- people", "cat, dog", "net.onnx", "**drift**: six scores"):
        assert part in text
    assert str(tmp_path) not in text and text == model_card.text(card)  # nothing of the place or the day


def test_a_card_is_about_one_file(card, tmp_path):
    path = model_card.write(card, tmp_path / "README.md")
    model_card.check(path, card.file)
    card.file.write_bytes(b"Weights")
    with pytest.raises(CourseError, match="not about this net.onnx"):
        model_card.check(path, card.file)
    card.file.unlink()
    with pytest.raises(CourseError, match="export the model first"):
        model_card.text(card)


@pytest.mark.parametrize("field", ["purpose", "not_for", "limits", "data", "licence", "measured"])
def test_what_no_program_can_know_must_be_written(card, field):
    with pytest.raises(ValueError, match=f"the card has no {field}"):
        replace(card, **{field: type(getattr(card, field))()})


@pytest.mark.parametrize(("value", "spread"), [(0.8, ""), (float("nan"), "± 0.1")])
def test_a_number_without_spread_is_refused(card, value, spread):
    with pytest.raises(ValueError, match="without its spread"):
        replace(card, measured=[model_card.Measurement("accuracy", value, spread, "test")])


def test_repeated_runs_give_mean_deviation_and_number():
    row = model_card.over_runs("p99", [1.0, 2.0, 4.0], "one machine", "ms")
    assert row.value == pytest.approx(7 / 3) and row.spread == "± 1.528 (sd of 3)" and row.unit == "ms"
    for values in ([0.8], [0.8, float("nan")], []):
        with pytest.raises(ValueError, match="without its spread"):
            model_card.over_runs("accuracy", values, "test")
