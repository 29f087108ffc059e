"""What is trained, how fast, and how far it may move: freezing by name and depth, parameter groups, L2-SP, forgetting, schedules."""
import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import features, finetuning, training
from helpers.backbones import efficientnet_lite0 as lite0
from helpers.backbones.small_cnn import SmallCNN, load_small_cnn

UNITS = ["features.0", "features.3", "features.7", "features.12"]


def trainable(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def data(n: int = 24) -> tuple[torch.Tensor, np.ndarray]:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0)), np.arange(n) % 3


def test_units_are_the_layers_with_their_batchnorm_and_hold_every_parameter_of_the_body_once():
    model = SmallCNN(3)
    parts = finetuning.units(model)
    assert list(parts) == UNITS and all(len(part) == 2 for part in parts.values())
    held = [id(p) for part in parts.values() for p in part.parameters()]
    assert sorted(held) == sorted(id(p) for p in model.features.parameters())
    with pytest.raises(ValueError, match="no nn.Sequential called `features`"):
        finetuning.units(nn.Linear(2, 2))


def test_unfreeze_only_trains_the_named_parts_and_nothing_else_moves():
    model = finetuning.unfreeze_only(SmallCNN(3), "features.12", "classifier")
    assert trainable(model) == {"features.12.weight", "features.12.bias", "classifier.weight", "classifier.bias"}
    before = copy.deepcopy(model.state_dict())
    training.fit(model, *data(), steps=3)
    assert {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])} == trainable(model)


@pytest.mark.parametrize("name", ["clasifier", "features.99", "features.2", ""])  # features.2 is a ReLU: it has nothing to train
def test_an_unknown_name_is_refused_with_a_suggestion_and_changes_nothing(name):
    model = SmallCNN(3)
    with pytest.raises(ValueError, match="choose for example .*(classifier|features)"):
        finetuning.unfreeze_only(model, "classifier", name)
    assert trainable(model) == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("count", range(5))
def test_unfreeze_last_counts_from_the_head(count):
    model = finetuning.unfreeze_last(SmallCNN(3), count)
    wanted = {id(p) for name in UNITS[4 - count :] for p in finetuning.units(model)[name].parameters()}
    wanted |= {id(p) for p in model.classifier.parameters()}
    assert {id(p) for p in model.parameters() if p.requires_grad} == wanted


@pytest.mark.parametrize("count", [-1, 5])
def test_unfreeze_last_refuses_a_depth_that_does_not_exist(count):
    with pytest.raises(ValueError, match="choose 0 to 4"):
        finetuning.unfreeze_last(SmallCNN(3), count)


def test_discriminative_groups_fall_by_the_factor_and_hold_what_is_trained_once():
    model = finetuning.unfreeze_last(SmallCNN(3), 3)
    groups = finetuning.discriminative_groups(model, 1e-2, 1e-1, factor=2)
    assert [group["lr"] for group in groups] == [1e-2, 5e-3, 2.5e-3, 1e-1]
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    with pytest.raises(ValueError, match="1 or more"):
        finetuning.discriminative_groups(model, 1e-2, 1e-1, factor=0.5)


def test_gradual_unfreezing_takes_all_steps_in_stages_and_ends_with_everything_trained():
    model = load_small_cnn("letters")
    histories = finetuning.gradual_unfreezing(model, *data(), steps=10, body_rate=1e-3)
    assert [history.stopped_at for history in histories] == [2, 3, 2, 3]
    assert trainable(model) == {name for name, _ in model.named_parameters()}
    with pytest.raises(ValueError, match="4 stages"):
        finetuning.gradual_unfreezing(model, *data(), steps=3, body_rate=1e-3)


def test_the_first_stage_of_gradual_unfreezing_leaves_the_early_units_alone(monkeypatch):
    seen = []
    monkeypatch.setattr(finetuning, "fit", lambda model, *_, **__: seen.append(trainable(model)))
    finetuning.gradual_unfreezing(SmallCNN(3), *data(), steps=4, body_rate=1e-3)
    assert [len(names) for names in seen] == [6, 9, 12, 15] and all(a < b for a, b in zip(seen, seen[1:], strict=False))


def test_l2_sp_equals_a_float64_reference_and_its_gradient_is_the_pull_back():
    torch.manual_seed(0)
    model = SmallCNN(3).double().eval()
    reference = finetuning.snapshot(model)
    assert not any(name.startswith("classifier") for name in reference)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    inputs, labels = data()[0].double(), torch.as_tensor(data()[1])
    value = finetuning.l2_sp(reference, 0.3, head_strength=0.2)(model, inputs, labels)
    body = sum(((p.detach().numpy() - reference[n].numpy()) ** 2).sum() for n, p in model.named_parameters() if n in reference)
    head = sum((p.detach().numpy() ** 2).sum() for p in model.classifier.parameters())
    expected = F.cross_entropy(model(inputs), labels).item() + 0.3 / 2 * body + 0.2 / 2 * head
    assert value.item() == pytest.approx(expected, rel=1e-12)
    gradient, plain = (
        torch.autograd.grad(loss(model, inputs, labels), model.features[12].weight)[0]
        for loss in (finetuning.l2_sp(reference, 0.3), training.cross_entropy)
    )
    assert torch.allclose(gradient - plain, 0.3 * (model.features[12].weight - reference["features.12.weight"]))


def test_distance_is_relative_and_0_at_the_start():
    model = SmallCNN(3)
    reference = finetuning.snapshot(model)
    assert finetuning.distance(model, reference) == 0
    with torch.no_grad():
        for p in model.features.parameters():
            p.mul_(1.25)
        model.classifier.weight.add_(9)  # the head does not count
    assert finetuning.distance(model, reference) == pytest.approx(0.25, rel=1e-5)


def test_a_strong_l2_sp_keeps_the_body_nearer_to_its_start():
    moved = []
    for strength in (0.0, 10.0):
        model = load_small_cnn("letters")
        reference = finetuning.snapshot(model)
        training.fit(model, *data(), steps=30, learning_rate=1e-2, loss=finetuning.l2_sp(reference, strength), weight_decay=0)
        moved.append(finetuning.distance(model, reference))
    assert moved[1] < moved[0] / 2


def test_l2_sp_refuses_a_negative_strength_and_another_net():
    model, reference = SmallCNN(3), finetuning.snapshot(SmallCNN(3))
    with pytest.raises(ValueError, match="0 \\(no pull\\) or more"):
        finetuning.l2_sp(reference, -1)
    reference["features.12.weight"] = torch.zeros(2, 2)
    with pytest.raises(ValueError, match="features.12.weight .*same net"):
        finetuning.distance(model, reference)
    with pytest.raises(ValueError, match="features.12.weight .*same net"):
        finetuning.l2_sp(reference, 1)(model, data()[0], torch.zeros(24).long())


def test_forgetting_is_the_accuracy_lost_under_the_old_head_and_changes_neither_net():
    source = load_small_cnn("letters")
    inputs = data()[0]
    labels = training.predict(source, inputs).argmax(1)
    tuned = finetuning.replace_classifier(source, 10)
    assert finetuning.forgetting(source, tuned, inputs, labels) == 0
    with torch.no_grad():
        tuned.features[12].weight.zero_()
        tuned.features[12].bias.zero_()
    states = [copy.deepcopy(net.state_dict()) for net in (source, tuned)]
    constant = np.bincount(labels, minlength=52)
    lost = finetuning.forgetting(source, tuned, inputs, labels)
    assert 1 - lost in [pytest.approx(count / len(labels)) for count in constant]  # one answer for all images
    for net, state in zip((source, tuned), states, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert tuned.classifier.out_features == 10


@pytest.mark.parametrize("steps", [1, 7, 100])
def test_the_warm_up_rises_to_the_peak_and_the_cosine_falls_to_0(steps):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule, rates = training.make_schedule(optimizer, "warm-up-cosine", steps), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    warm = max(1, round(steps / 10))
    assert rates[:warm] == [pytest.approx(0.5 * (step + 1) / warm) for step in range(warm)] and max(rates) == pytest.approx(0.5)
    after = [0.25 * (1 + math.cos(math.pi * place / (steps - warm + 1))) for place in range(1, steps - warm + 1)]
    assert rates[warm:] == pytest.approx(after) and (steps < 100 or rates[-1] < 0.001)


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("until, width", [("block 13", 192), ("block 16", 320), ("head", 1280)])
def test_the_tail_on_cached_maps_equals_the_whole_net(photos, until, width, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    maps = features.extract_maps(photos, "block 10", 64)
    tail = lite0.tail("block 10", until, classes=5)
    with torch.no_grad():
        found = tail.features(torch.from_numpy(maps)).numpy()
        assert tail(torch.from_numpy(maps)).shape == (3, 5)
    assert maps.shape == (3, 112, 4, 4) and found.shape == (3, width)
    assert np.allclose(found, features.extract(photos, until, 64), atol=1e-3)


def test_the_tail_can_be_unfrozen_block_by_block():
    tail = lite0.tail("block 10", "head", classes=5)
    assert list(finetuning.units(tail)) == [*(f"features.block {n}" for n in range(11, 17)), "features.head"]
    finetuning.unfreeze_last(tail, 1)
    assert {name.split(".")[1] for name in trainable(tail) if name.startswith("features")} == {"head"}


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("block 11", "head", 5), "choose one of"),
        (("block 10", "top", 5), "choose one of"),
        (("block 13", "block 10", 5), "later"),
        (("head", "head", 5), "later"),
        (("block 10", "head", 1), "2 or more"),
    ],
)
def test_a_tail_that_makes_no_sense_is_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        lite0.tail(*arguments)


def test_maps_refuse_an_unknown_layer_and_a_wrong_size(photos):
    with pytest.raises(ValueError, match="choose one of"):
        features.extract_maps(photos, "block 11", 64)
    with pytest.raises(ValueError, match="multiple of 32"):
        features.extract_maps(photos, "block 10", 50)
