"""Self-supervised losses against float64 loops and closed forms; the loop; collapse; the stored sweep."""
import copy
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from helpers import experiment
from helpers import selfsupervised as ss
from helpers.backbones.small_cnn import SmallCNN
from helpers.errors import CourseError

ROOT = Path(__file__).resolve().parent.parent


def two_views(n=7, d=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(n, d, generator=generator, dtype=dtype)
    return first, first + 0.3 * torch.randn(n, d, generator=generator, dtype=dtype)


def nt_xent_loop(first, second, temperature):
    """Equation 1 of the paper, pair by pair."""
    rows = [*first.numpy(), *second.numpy()]
    n, total = len(first), 0.0

    def cosine(a, b):
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    for i, row in enumerate(rows):
        partner = i + n if i < n else i - n
        others = sum(np.exp(cosine(row, rows[k]) / temperature) for k in range(2 * n) if k != i)
        total -= np.log(np.exp(cosine(row, rows[partner]) / temperature) / others)
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("n", [2, 7])
def test_nt_xent_is_the_papers_sum(n, temperature):
    first, second = two_views(n)
    assert ss.nt_xent(first, second, temperature).item() == pytest.approx(nt_xent_loop(first, second, temperature), rel=1e-9)


def vicreg_loop(first, second):
    n, d = first.shape
    a, b = first.numpy(), second.numpy()
    invariance = sum((a[i, j] - b[i, j]) ** 2 for i in range(n) for j in range(d)) / (n * d)
    variance = sum(max(0, 1 - np.sqrt(view[:, j].var(ddof=1) + 1e-4)) for view in (a, b) for j in range(d)) / d / 2
    covariance = 0.0
    for view in (a, b):
        centred = view - view.mean(0)
        for i in range(d):
            for j in range(d):
                if i != j:
                    covariance += (sum(centred[:, i] * centred[:, j]) / (n - 1)) ** 2 / d
    return invariance, variance, covariance


@pytest.mark.parametrize("scale", [0.2, 1.0])
def test_vicregs_terms_are_the_papers_sums(scale):
    first, second = (scale * view for view in two_views())
    expected = vicreg_loop(first, second)
    assert [term.item() for term in ss.vicreg_terms(first, second)] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert ss.vicreg_loss(first, second).item() == pytest.approx(np.dot([25, 25, 1], expected), rel=1e-9)
    assert ss.vicreg_loss(first, second, (1, 0, 2)).item() == pytest.approx(np.dot([1, 0, 2], expected), rel=1e-9)


@pytest.mark.parametrize("loss", [ss.nt_xent, ss.vicreg_loss, ss.negative_cosine])
def test_the_order_of_the_batch_and_the_names_of_the_views_play_no_role(loss):
    first, second = two_views()
    order = torch.randperm(len(first), generator=torch.Generator().manual_seed(1))
    assert loss(first[order], second[order]).item() == pytest.approx(loss(first, second).item(), rel=1e-12)
    assert loss(second, first).item() == pytest.approx(loss(first, second).item(), rel=1e-12)


@pytest.mark.parametrize("loss", [ss.nt_xent, ss.vicreg_loss, lambda a, b: ss.negative_cosine(a, b, stop_gradient=False)])
def test_gradients_agree_with_finite_differences(loss):
    first, second = (view.requires_grad_() for view in two_views(4, 3))
    assert torch.autograd.gradcheck(loss, (first, second))


def test_identical_samples_give_the_documented_values():
    same = torch.ones(6, 4, dtype=torch.float64)
    assert ss.nt_xent(same, same).item() == pytest.approx(np.log(11))
    terms = ss.vicreg_terms(same, same)
    assert terms.invariance == 0 and terms.covariance == 0 and terms.variance.item() == pytest.approx(0.99)
    assert ss.negative_cosine(same, same).item() == pytest.approx(-1)
    for loss in (ss.nt_xent, ss.vicreg_loss, ss.negative_cosine):  # nor do their slopes become NaN
        view = torch.zeros(6, 4, requires_grad=True)
        loss(view, torch.zeros(6, 4)).backward()
        assert torch.isfinite(view.grad).all()


def test_perfect_orthogonal_pairs_have_a_closed_form():
    pairs = torch.eye(4, dtype=torch.float64)
    expected = -np.log(np.exp(1 / 0.5) / (np.exp(1 / 0.5) + 6))
    assert ss.nt_xent(pairs, pairs, 0.5).item() == pytest.approx(expected)


def test_info_nce_never_claims_more_than_the_mutual_information():
    rng, correlation, n = np.random.default_rng(0), 0.9, 64
    information = -0.5 * np.log(1 - correlation**2)
    x = rng.standard_normal(n * 200)
    y = correlation * x + np.sqrt(1 - correlation**2) * rng.standard_normal(len(x))
    x, y = (torch.from_numpy(v.reshape(-1, n)) for v in (x, y))
    best = -((y[:, None, :] - correlation * x[:, :, None]) ** 2) / (2 * (1 - correlation**2))
    best = best + y[:, None, :] ** 2 / 2
    claims = {name: np.log(n) - np.mean([ss.info_nce(scores).item() for scores in batch])
              for name, batch in {"best": best, "half as sure": best / 2, "noise": torch.randn(best.shape)}.items()}  # fmt: skip
    assert 0.9 * information < claims["best"] < information + 0.02
    assert claims["noise"] < claims["half as sure"] < claims["best"]


def test_the_target_of_negative_cosine_gets_no_gradient():
    predicted, target = (view.requires_grad_() for view in two_views())
    ss.negative_cosine(predicted, target).backward()
    assert target.grad is None and predicted.grad.abs().sum() > 0
    ss.negative_cosine(predicted, target, stop_gradient=False).backward()
    assert target.grad.abs().sum() > 0


@pytest.mark.parametrize("call, words", [
    (lambda: ss.nt_xent(torch.ones(1, 4), torch.ones(1, 4)), "two or more"),
    (lambda: ss.vicreg_loss(torch.ones(1, 4), torch.ones(1, 4)), "two or more"),
    (lambda: ss.nt_xent(torch.ones(3, 4), torch.ones(4, 4)), r"shapes \(3, 4\) and \(4, 4\)"),
    (lambda: ss.vicreg_terms(torch.ones(3, 4), torch.ones(3, 5)), "same images"),
    (lambda: ss.nt_xent(torch.ones(3, 4), torch.ones(3, 4), 0), "above 0"),
    (lambda: ss.info_nce(torch.ones(3, 4)), "diagonal"),
    (lambda: ss.info_nce(torch.ones(1, 1)), "diagonal"),
    (lambda: ss.negative_cosine(torch.ones(3, 4), torch.ones(3, 5)), "both"),
    (lambda: ss.turn(torch.ones(2, 1, 4, 5), torch.tensor([0, 1])), "square"),
    (lambda: ss.turn(torch.ones(2, 1, 4, 4), torch.tensor([0, 4])), "0, 1, 2 or 3"),
    (lambda: ss.turn(torch.ones(2, 1, 4, 4), torch.tensor([0])), "each of the 2 images"),
    (lambda: ss.corrupt(torch.ones(2, 1, 4, 4), torch.Generator(), noise=-1), "0 or more"),
    (lambda: ss.corrupt(torch.ones(2, 1, 4, 4), torch.Generator(), missing=1), "below 1"),
    (lambda: ss.Predict(ss.views(), momentum=1), "below 1"),
    (lambda: ss.pretrain(SmallCNN(2), ss.Denoise(), torch.rand(1, 1, 8, 8)), "there are 1 images"),
    (lambda: ss.pretrain(SmallCNN(2), ss.Denoise(), torch.full((4, 1, 8, 8), float("nan")), steps=1), "NaN"),
    (lambda: ss.effective_rank(np.ones(3)), r"pass \(n, d\)"),
    (lambda: ss.effective_rank(np.full((3, 2), np.nan)), "NaN"),
    (lambda: ss.scaled(np.ones((3, 2)), np.array([1])), "two or more"),
])  # fmt: skip
def test_unusable_input_is_refused_with_a_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_turn_turns_each_image_by_its_own_number():
    images = torch.rand(8, 2, 5, 5)
    quarters = torch.tensor([0, 1, 2, 3, 3, 2, 1, 0])
    turned = ss.turn(images, quarters)
    for image, k, found in zip(images, quarters, turned, strict=True):
        assert torch.equal(found, torch.rot90(image, int(k), (1, 2)))
    assert torch.equal(ss.turn(turned, (4 - quarters) % 4), images)


def test_corrupt_hides_the_share_and_leaves_the_input():
    images = torch.ones(200, 1, 8, 8)
    spoilt = ss.corrupt(images, torch.Generator().manual_seed(0), noise=0.0, missing=0.25)
    assert (spoilt == 0).float().mean().item() == pytest.approx(0.25, abs=0.02) and (images == 1).all()
    noisy = ss.corrupt(images, torch.Generator().manual_seed(0), noise=0.3, missing=0.0)
    assert noisy.std().item() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("method", list(ss.objectives()))
def test_every_method_trains_the_features_alone_and_repeats(method):
    images = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def trained():
        torch.manual_seed(0)
        model, objective = SmallCNN(2), ss.objectives()[method]()
        before = copy.deepcopy(model)
        history = ss.pretrain(model, objective, images, steps=3, batch_size=16, seed=1)
        return before, model, objective, history

    before, model, objective, history = trained()
    assert len(history.loss) == 3 and not model.training
    assert torch.equal(model.classifier.weight, before.classifier.weight)
    assert not torch.equal(model.features[0].weight, before.features[0].weight)
    again = trained()[1]
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_the_objective_is_trained_but_its_teacher_only_follows():
    torch.manual_seed(0)
    model, objective = SmallCNN(2), ss.Predict(ss.views(), momentum=0.75)
    images, generator = torch.rand(8, 1, 8, 8), torch.Generator().manual_seed(0)
    student = nn.Sequential(model.features, objective.projector).train()
    assert not any(name.startswith("teacher") for name, _ in objective.named_parameters())
    objective(model.features, images, generator)
    old = objective.teacher[0][0].weight.clone()
    with torch.no_grad():
        model.features[0].weight += 1
    teacher = objective.follow(student)
    assert torch.allclose(teacher[0][0].weight, old + 0.25, atol=1e-6)
    assert not any(p.requires_grad for p in teacher.parameters())
    loss = objective(model.features, images, generator)
    loss.backward()
    assert objective.predictor[0].weight.grad is not None and teacher[0][0].weight.grad is None


def test_effective_rank_counts_directions():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((50, 6)))[0]
    for k in (1, 3, 6):
        assert ss.effective_rank(basis[:, :k] @ np.eye(k, 8)) == pytest.approx(k)
    assert ss.effective_rank(np.ones((10, 4))) == pytest.approx(1)
    assert ss.effective_rank(np.zeros((10, 4))) == 0
    assert ss.effective_rank(torch.randn(20, 1, requires_grad=True)) == pytest.approx(1)
    matrix = rng.standard_normal((30, 8))
    turned = matrix @ np.linalg.qr(rng.standard_normal((8, 8)))[0]
    assert ss.effective_rank(5 * turned[::-1]) == pytest.approx(ss.effective_rank(matrix))


def test_scaled_looks_at_the_pool_alone():
    rng = np.random.default_rng(0)
    vectors, pool = rng.normal(3, 2, (20, 6)), np.arange(10)
    found = ss.scaled(vectors, pool)
    assert np.allclose(np.linalg.norm(found, axis=1), np.sqrt(6))
    others = vectors.copy()
    others[10:] += 5
    assert np.array_equal(ss.scaled(others, pool)[:10], found[:10])
    assert np.isfinite(ss.scaled(np.zeros((4, 3)))).all()


@pytest.mark.slow
def test_collapse_is_seen_in_the_spread_and_the_rank_without_the_stop_gradient_alone():
    from helpers.data import digits
    from helpers.data.images import to_tensor

    images = to_tensor(digits.load_digits().images[:600])
    found = {}
    for name, stop in (("with", True), ("without", False)):
        torch.manual_seed(0)
        model, objective = SmallCNN(2), ss.Predict(ss.views(), momentum=None, stop_gradient=stop)
        ss.pretrain(model, objective, images, steps=100, seed=0)
        with torch.no_grad():
            z = nn.functional.normalize(objective.eval().projector(model.features(images)), dim=1)
        found[name] = z.std(0).mean().item() * z.shape[1] ** 0.5, ss.effective_rank(z)
    assert found["without"][0] < 0.3 < 0.6 < found["with"][0] and found["without"][1] < 0.7 * found["with"][1], found


def script(name="tune_selfsupervised"):
    spec = importlib.util.spec_from_file_location(name, ROOT / "data_scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_stored_sweep_covers_every_method_and_its_script_still_runs():
    stored = json.loads(ss.RATES_FILE.read_text(encoding="utf-8"))
    tune = script()
    methods = [row for row in stored["sweep"] if row["method"] in ss.objectives()]
    assert set(ss.tuned_rates()) == {*ss.objectives(), "VICReg, fine-tuned"} and len(methods) == len(ss.objectives()) * len(tune.CANDIDATES)
    assert sorted({row["rate"] for row in methods}) == sorted(tune.CANDIDATES)
    assert not set(stored["seeds"]) & set(range(10)), "the lesson's seeds must not be tuned on"
    assert 0 < tune.validation_accuracy("denoising", 5, 1e-3, 100) < 1


def test_the_shipped_nets_are_what_their_record_says(tmp_path, monkeypatch):
    record = ss.provenance()
    for name, about in record["nets"].items():
        assert not ss.load_net(name).training
        assert about["accuracy_of_a_probe_on_digits"] > (0.5 if "letters" in name else 0.93)
    assert record["nets"].keys() == {ss.vicreg_file(seed, source) for seed in range(3) for source in ("digits", "letters")}
    assert sum(path.stat().st_size for path in ss.WEIGHTS.glob("vicreg_*.safetensors")) < 1_000_000
    with pytest.raises(ValueError, match="no net for seed 99 and 'digits': there are vicreg_0.safetensors"):
        ss.load_vicreg(99)
    (tmp_path / "vicreg.json").write_bytes((ss.WEIGHTS / "vicreg.json").read_bytes())
    monkeypatch.setattr(ss, "WEIGHTS", tmp_path)
    with pytest.raises(CourseError, match="missing"):
        ss.load_vicreg(0)
    (tmp_path / "vicreg_0.safetensors").write_bytes(b"half a file")
    with pytest.raises(CourseError, match="damaged"):
        ss.load_vicreg(0)


def test_the_weights_script_makes_nets_like_the_shipped_ones():
    net, accuracy = script("make_selfsupervised_weights").pretrain(0, steps=60)
    assert 0.85 < accuracy <= 1 and not net.training
    shipped = ss.load_vicreg(0)
    assert net.features.state_dict().keys() == shipped.features.state_dict().keys()


@pytest.mark.slow
def test_a_stored_figure_is_reproduced():
    stored = {(row["method"], row["rate"]): row["mean"] for row in json.loads(ss.RATES_FILE.read_text(encoding="utf-8"))["sweep"]}
    rate = ss.tuned_rates()["VICReg"][5]
    assert script().validation_accuracy("VICReg", 5, rate, 100) == pytest.approx(stored["VICReg", rate], abs=0.03)


def test_the_stored_runs_are_complete_and_what_their_script_finds():
    from data_scripts import run_selfsupervised as script

    stored = experiment.stored_rows(ss.RUNS).set_index(["task", "method", "labels", "seed"]).accuracy
    cases = {("opponents", arm, n, seed) for arm in script.ARMS[:2] for n in script.LABELS for seed in script.SEEDS}
    cases |= {("opponents", script.ARMS[2], n, seed) for n in script.LABELS for seed in script.LONG_SEEDS}
    cases |= {(task, name, 5, seed) for task in ("all digits", "6 against 9") for name in script.VIEWS for seed in script.SEEDS}
    cases |= {("photographs", "VICReg", 5, seed) for seed in script.SEEDS}
    assert stored.index.is_unique and set(stored.index) == cases
    # Other processors round otherwise, and training enlarges that: the same net up to a few points.
    patient = ("VICReg long, fine-tuned", 10, 2)
    assert script.opponents(*patient) == pytest.approx(stored["opponents", *patient], abs=0.05)
    for task, accuracy in script.views("moved twice as far", 1).items():
        assert accuracy == pytest.approx(stored[task, "moved twice as far", 5, 1], abs=0.1)
