"""The small GAN: losses and averages by hand, distances against scipy, what each arm trains, what is shipped, and every refusal."""
import json
import shutil

import numpy as np
import pytest
import tiny_hub
import torch
from scipy import linalg

from helpers import generative
from helpers.data.digits import load_digits
from helpers.errors import CourseError
from helpers.finetuning import freeze

LABELS = np.arange(60) % 10


@pytest.fixture(scope="module")
def task():
    return generative.make_task(50, seed=0)


def test_hinge_losses_by_hand():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 1.0, 0.0])
    assert generative.discriminator_loss(real, fake).item() == pytest.approx(0.5 + 1)
    assert generative.generator_loss(fake).item() == pytest.approx(2 / 3)


def test_the_moving_average_moves_weights_and_statistics_and_copies_counters():
    average, model = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    model.weight.data[:], model.running_mean[:], model.num_batches_tracked.data = 3.0, 5.0, torch.tensor(7)
    generative.update_average(average, model, 0.75)
    assert average.weight.tolist() == [1.5, 1.5] and average.running_mean.tolist() == [1.25, 1.25]
    assert average.num_batches_tracked == 7 and model.weight.tolist() == [3.0, 3.0]


def test_the_label_enters_by_a_projection_and_every_matrix_is_normalised():
    net, pictures = generative.Discriminator(), torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        for _ in range(60):
            net(pictures, torch.arange(4))
    net.eval()
    features = net.late(net.early(2 * pictures - 1))
    gap = net(pictures, torch.full((4,), 2)) - net(pictures, torch.full((4,), 5))
    expected = generative.GAIN * features @ (net.classes.weight[2] - net.classes.weight[5])
    assert torch.allclose(gap, expected, atol=1e-4)
    for layer in (net.early[0], net.early[2], net.late[0], net.real, net.classes):
        assert torch.linalg.svdvals(layer.weight.flatten(1))[0].item() == pytest.approx(1, abs=0.05)
    free = generative.Discriminator(normalise=False)
    assert not any("parametrizations" in name for name in free.state_dict())


@pytest.mark.parametrize(("n", "m", "d"), [(50, 60, 1), (80, 40, 5), (200, 300, 20)])
def test_frechet_distance_agrees_with_scipys_matrix_root(n, m, d):
    rng = np.random.default_rng(n)
    first, second = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)), rng.standard_normal((m, d)) + 1
    one, two = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (first, second))
    gap = first.mean(0) - second.mean(0)
    expected = gap @ gap + np.trace(one + two - 2 * linalg.sqrtm(one @ two).real)
    assert generative.frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert generative.frechet_distance(second, first) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_with_fewer_rows_than_features():
    few = np.random.default_rng(0).standard_normal((5, 64))
    assert generative.frechet_distance(few, few) == pytest.approx(0, abs=1e-5)
    assert generative.frechet_distance(few, few + 1) == pytest.approx(64, abs=1e-4)
    assert generative.frechet_distance(np.ones((3, 2)), np.ones((4, 2))) == 0


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (np.ones((5, 3)), np.ones((5, 2)), "shapes"), (np.ones(5), np.ones(5), "shapes"), (np.ones((1, 3)), np.ones((5, 3)), "two or more"),
        (np.full((5, 3), np.nan), np.ones((5, 3)), "NaN or infinite"),
    ],
)  # fmt: skip
def test_what_has_no_frechet_distance_is_refused(first, second, says):
    with pytest.raises(ValueError, match=says):
        generative.frechet_distance(first, second)


def test_nearest_by_hand():
    places, distances = generative.nearest(np.array([[[0.0, 3.0]], [[1.0, 1.0]]]), np.array([[[1.0, 1.0]], [[0.0, 0.0]], [[4.0, 0.0]]]))
    assert places.tolist() == [0, 0] and distances.tolist() == [pytest.approx(5**0.5), 0]
    for pictures, others in ((np.ones((0, 8, 8)), np.ones((1, 8, 8))), (np.ones((1, 8, 8)), np.ones((1, 4, 4)))):
        with pytest.raises(ValueError, match="pass one or more of the same size"):
            generative.nearest(pictures, others)


def test_spread_is_the_mean_over_classes_of_the_summed_variance():
    features = np.array([[0.0, 0.0], [2.0, 4.0], [7.0, 7.0], [7.0, 7.0]])
    assert generative.spread(features, np.array([0, 0, 1, 1])) == pytest.approx((1 + 4 + 0) / 2)


def test_a_task_has_no_digit_twice_and_none_of_the_judges(task):
    images = load_digits().images.reshape(-1, 64)
    known = {image.tobytes(): place for place, image in enumerate(images)}
    parts = [{known[image.tobytes()] for image in part.reshape(-1, 64)} for part in (task.few, task.other, task.test)]
    assert len(generative.JUDGES) == 599 and len(set(generative.JUDGES)) == 599
    assert [len(part) for part in (task.few, task.other, task.test)] == [50, 549, 599]
    assert len(set.union(*parts, set(generative.JUDGES.tolist()))) >= 1790  # a few digits of the collection are equal to the pixel
    assert np.bincount(task.few_labels).tolist() == [5] * 10
    assert set(map(bytes, generative.make_task(200, 0).few)) >= set(map(bytes, task.few))
    assert not np.array_equal(generative.make_task(50, 1).few, task.few)
    for count in (0, 5, 55, 410):
        with pytest.raises(ValueError, match=f"count is {count}: pass a multiple of 10"):
            generative.make_task(count, 0)


def test_the_seed_decides_the_training_and_what_is_kept_is_on_the_way(task):
    runs = [generative.transfer("scratch", task, rate=1e-3, steps=4, seed=seed, keep=(2, 4)) for seed in (3, 3, 4)]
    first, again, other = (generative.sample(run.generator, LABELS) for run in runs)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert runs[0].losses.shape == (4, 2) and np.isfinite(runs[0].losses).all() and list(runs[0].kept) == [2, 4]
    assert np.array_equal(generative.sample(runs[0].kept[4], LABELS), first)
    assert not np.array_equal(generative.sample(runs[0].kept[2], LABELS), first)
    assert first.shape == (60, 8, 8) and 0 <= first.min() and first.max() <= 1
    assert not np.array_equal(generative.sample(runs[0].generator, LABELS, seed=1), first)


@pytest.mark.parametrize("arm", generative.ARMS)
def test_an_arm_starts_where_it_says(arm, task, monkeypatch):
    met = {}
    monkeypatch.setattr(generative, "train_gan", lambda *nets, **_: met.update(nets=nets[:2]))
    generative.transfer(arm, task, rate=1e-3, seed=6)
    for net, old, moved in zip(met["nets"], generative.load_source(1), generative.ARMS[arm][:2], strict=True):
        pairs = zip(net.state_dict().items(), old.state_dict().values(), strict=True)
        assert all(torch.equal(tensor, other) for (name, tensor), other in pairs if "num_batches" not in name) == moved
    early = [p.requires_grad for p in met["nets"][1].early.parameters()]
    assert not any(early) if "FreezeD" in arm else all(early)


def test_what_is_frozen_stays(task):
    generator, discriminator = generative.load_source(0)
    freeze(discriminator.early)
    before = {name: tensor.clone() for name, tensor in discriminator.state_dict().items()}
    generative.train_gan(generator, discriminator, task.few, task.few_labels, steps=3)
    moved = {name.split(".")[0] for name, tensor in discriminator.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"late", "real", "classes"}


def test_a_class_without_images_is_not_asked_for(task):
    seen = []

    class Listening(generative.Generator):
        def forward(self, noise, labels):
            seen.extend(labels.tolist())
            return super().forward(noise, labels)

    kept = np.isin(task.few_labels, (2, 7))
    generative.train_gan(Listening(), generative.Discriminator(), task.few[kept], task.few_labels[kept], steps=3)
    assert set(seen) == {2, 7}


def test_unusable_data_and_settings_are_refused(task):
    def train(images=task.few, labels=task.few_labels, generator=None, **settings):
        generative.train_gan(generator or generative.Generator(), generative.Discriminator(), images, labels, **{"steps": 1} | settings)

    with pytest.raises(ValueError, match="there are no images"):
        train(task.few[:0], task.few_labels[:0])
    with pytest.raises(ValueError, match=r"these nets draw \(n, 8, 8\), grey"):
        train(np.zeros((2, 16, 16), np.float32), np.zeros(2, int))
    with pytest.raises(ValueError, match="NaN or infinite"):
        train(np.full((2, 8, 8), np.nan, np.float32), np.zeros(2, int))
    with pytest.raises(ValueError, match="a label is 10: the nets know the digits 0 to 9"):
        train(labels=task.few_labels + 1)
    with pytest.raises(ValueError, match="pass one label for each image"):
        train(labels=task.few_labels[1:])
    with pytest.raises(ValueError, match="steps is 0"):
        train(steps=0)
    with pytest.raises(ValueError, match="every parameter of the Generator is frozen"):
        train(generator=freeze(generative.Generator()))
    with pytest.raises(ValueError, match="a label is 12"):
        generative.sample(generative.Generator(), [12])
    assert generative.sample(generative.Generator(), []).shape == (0, 8, 8)
    with pytest.raises(ValueError, match="no arm called 'half': choose one of scratch, "):
        generative.transfer("half", task)
    with pytest.raises(ValueError, match="number is 5: there are 5 nets"):
        generative.load_source(5)


def test_the_shipped_nets_draw_digits_and_the_judge_reads_them(task):
    judge, record = generative.load_judge(), generative.provenance()
    assert generative.verify().stat().st_size < 1_000_000 and len(record["distances"]) == 5
    for number in range(5):
        features, read = generative.judged(judge, generative.sample(generative.load_source(number)[0], np.arange(600) % 10))
        assert (read == np.arange(600) % 10).mean() > 0.6 and np.isfinite(features).all() and features.shape == (600, 64)
    figures = generative.score(judge, task.other, task.other_labels, task)
    assert figures["right"] > 0.98 and 0.9 < figures["spread"] < 1.1 and figures["distance"] < 2 and figures["nearest"] > 1.4
    copies = generative.score(judge, task.few, task.few_labels, task)
    assert copies["copied"] == 1 and abs(figures["copied"] - 0.05) < 0.01
    assert copies["nearest"] == 0 and copies["distance"] > figures["distance"]
    assert not judge.training and not any(p.requires_grad for p in judge.parameters())


def test_damaged_or_missing_weights_are_named(tmp_path, monkeypatch):
    for name in ("gan.safetensors", "gan.json"):
        shutil.copy(generative.WEIGHTS.with_name(name), tmp_path / name)
    monkeypatch.setattr(generative, "WEIGHTS", tmp_path / "gan.safetensors")
    with open(generative.WEIGHTS, "ab") as file:
        file.write(b"x")
    with pytest.raises(CourseError, match="gan.safetensors has sha256 .*git checkout"):
        generative.load_source(0)
    generative.WEIGHTS.unlink()
    with pytest.raises(CourseError, match="gan.safetensors are missing"):
        generative.load_source(0)


def test_the_stored_sweep_and_runs_cover_every_arm():
    rows = json.loads(generative.SWEEP.read_text(encoding="utf-8"))["sweep"]
    assert {(row["arm"], row["digits"]) for row in rows} == {(arm, digits) for arm in generative.ARMS for digits in (50, 200)}
    best = max((row for row in rows if (row["arm"], row["digits"]) == ("both moved", 50)), key=lambda row: row["mean"])
    assert generative.best_rate("both moved", 60) == best["rate"]
    runs = json.loads(generative.TABLE.read_text(encoding="utf-8"))["runs"]
    for arm in generative.ARMS:
        for digits in (50, 200):
            seeds = [row["seed"] for row in runs if (row["arm"], row["digits"], row["steps"]) == (arm, digits, 200)]
            assert sorted(seeds) == sorted(set(seeds)) and len(seeds) >= 3


def test_image_gpt_continues_what_it_is_shown():
    processor, model = tiny_hub.painter()
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3), dtype=np.uint8)
    whole = generative.continue_pictures(processor, model, images, rows=8)
    half, again = (generative.continue_pictures(processor, model, images, rows=4, seed=1) for _ in range(2))
    assert whole.shape == (2, 8, 8, 3) and whole.dtype == np.uint8
    assert np.array_equal(half, again) and np.array_equal(half[:, :4], whole[:, :4]) and not np.array_equal(half, whole)
    free = [generative.continue_pictures(processor, model, images, rows=0, seed=seed) for seed in (0, 1)]
    assert not np.array_equal(*free)
    colours = np.rint((np.asarray(processor.clusters) + 1) * 127.5)
    assert {tuple(pixel) for pixel in half.reshape(-1, 3)} <= {tuple(colour) for colour in colours.astype(np.uint8)}
    exact = np.kron(colours.astype(np.uint8)[np.arange(64) % 16].reshape(1, 8, 8, 3), np.ones((1, 1, 1, 1), np.uint8))
    assert np.array_equal(generative.continue_pictures(processor, model, exact, rows=8), exact)
    for bad in (images[0], images[:, :10], images / 255.0, images[:0]):
        with pytest.raises(ValueError, match="square, uint8"):
            generative.continue_pictures(processor, model, bad, rows=4)
    with pytest.raises(ValueError, match="rows is 9: the model's pictures have 8"):
        generative.continue_pictures(processor, model, images, rows=9)
