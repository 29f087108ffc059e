"""Methods of domain adaptation: against float64 references, POT and skada; their limits."""
import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers.adaptation import adversarial, benchmark, coral, fit, graph, information, self_training, test_time, transport
from helpers.adaptation.adabn import adabn
from helpers.backbones.small_cnn import SmallCNN
from helpers.data import augment

rng = np.random.default_rng(0)
os.environ.setdefault("POT_BACKEND_DISABLE_TENSORFLOW", "1")  # POT would import it, which takes seconds


def correlated(n, d, mean=0.0):
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + mean


@pytest.fixture
def joint():
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (8,))
    tensors = [torch.randn(8, size, dtype=torch.float64, requires_grad=True) for size in (5, 5, 4, 4)]
    return fit.Joint(*tensors, labels, torch.randint(0, 4, (8,)))


# ---- the loop
def test_the_ramp_rises_from_0_to_1():
    values = [fit.ramp(p) for p in np.linspace(0, 1, 11)]
    assert values[0] == 0 and values[-1] > 0.999 and values == sorted(values) and fit.constant(0.3) == 1


def test_both_domains_share_the_statistics_of_one_forward_pass():
    net = benchmark.new_net(0).train()
    source, target = torch.rand(6, 1, 8, 8), torch.rand(4, 1, 8, 8)
    features = net.features(torch.cat([source, target]))
    found = fit.forward(net, source, target, torch.zeros(6))
    assert torch.allclose(torch.cat([found.source_features, found.target_features]), features)
    assert found.source_logits.shape == (6, 10) and found.target_logits.shape == (4, 10) and found.target_labels is None
    apart = fit.forward_apart(net, source, target, torch.zeros(6))
    assert torch.allclose(apart.target_features, net.features(target))
    assert not torch.allclose(apart.target_features, features[6:], atol=1e-3)
    assert torch.allclose(apart.source_logits, net.classifier(net.features(source)))


def tiny(steps=3, **changes):
    net = benchmark.new_net(0)
    arguments = {"source": torch.rand(20, 1, 8, 8), "labels": np.arange(20) % 10, "target": torch.rand(12, 1, 8, 8)}
    arguments |= {"method": fit.no_method, **changes}
    fit.adapt(net, *[arguments.pop(name) for name in ("source", "labels", "target", "method")], steps=steps, batch_size=8, **arguments)
    return net


def test_adapt_trains_net_and_method_repeats_itself_and_gives_the_method_a_rising_weight():
    seen = []

    def spy(joint, weight):
        seen.append(weight)
        return information.mcc(joint, weight)

    torch.manual_seed(0)
    data = {"source": torch.rand(20, 1, 8, 8), "target": torch.rand(12, 1, 8, 8)}
    first, second = (tiny(method=spy, weight=2.0, augment=augment.jitter(), seed=4, **data) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True)) and not first.training
    assert seen[:3] == [2 * fit.ramp(t / 3) for t in range(3)]
    dann = adversarial.Dann()
    before = dann.critic[0].weight.clone()
    tiny(method=dann, **data)
    assert not torch.equal(before, dann.critic[0].weight), "the domain classifier has to be trained with the net"


def test_adapt_refuses_what_it_cannot_use():
    for changes, message in (
        ({"target": torch.rand(0, 1, 8, 8)}, "no target images"), ({"target": torch.rand(5, 1, 9, 9)}, "make them equal"),
        ({"target": torch.full((5, 1, 8, 8), float("nan"))}, "NaN"), ({"weight": -1}, "0 or more"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            tiny(**changes)


def test_pseudo_labels_are_a_cross_entropy_on_the_target(joint):
    assert torch.isclose(fit.pseudo_labels(joint, 0.5), 0.5 * F.cross_entropy(joint.target_logits, joint.target_labels))
    assert fit.no_method(joint, 3.0) == 0


# ---- statistics
def test_adabn_has_the_targets_statistics_and_leaves_weights_and_original_alone():
    net, target = benchmark.new_net(0), torch.rand(50, 1, 8, 8) * 0.3
    net.train()(torch.rand(20, 1, 8, 8) + 5)  # statistics of a source, which must be gone afterwards
    net.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    adapted = adabn(net, target)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items()), "the original has changed"
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), adapted.parameters(), strict=True))
    first = adapted.features[0](target)
    assert torch.allclose(adapted.features[1].running_mean, first.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(adapted.features[1].running_var, first.var((0, 2, 3)), atol=1e-6)
    assert adapted.features[1].momentum == 0.1 and not adapted.training
    with pytest.raises(ValueError, match="no BatchNorm"):
        adabn(nn.Linear(2, 2), torch.rand(4, 2))
    with pytest.raises(ValueError, match="two or more"):
        adabn(net, target[:1])


def test_coral_equals_another_square_root_and_its_limits():
    from scipy.linalg import sqrtm

    for n, m, d, ridge in ((60, 40, 4, 0.0), (30, 50, 1, 0.2), (5, 6, 9, 1.0)):  # the last: fewer rows than features
        source, target = correlated(n, d, 3), correlated(m, d)
        roots = [np.real(sqrtm(np.cov(x.T).reshape(d, d) + ridge * np.eye(d))) for x in (source, target)]
        wanted = (source - source.mean(0)) @ np.linalg.inv(roots[0]) @ roots[1] + source.mean(0)
        np.testing.assert_allclose(coral.coral_transform(source, target, ridge), wanted, atol=1e-6)
    np.testing.assert_allclose(coral.coral_transform(source, source, 0.5), source, atol=1e-8)
    for bad in ((source, target[:, :3]), (source[:1], target), (source[0], target)):
        with pytest.raises(ValueError, match="two or more|pass \\(n, d\\)"):
            coral.coral_transform(*bad)


def test_the_coral_loss_is_the_covariances_distance_and_has_a_gradient():
    x, y = (torch.tensor(correlated(n, 6), requires_grad=True) for n in (20, 30))
    wanted = np.square(np.cov(x.detach().T) - np.cov(y.detach().T)).sum() / (4 * 36)
    assert coral.coral(x, y).item() == pytest.approx(wanted) and coral.coral(x, x).item() == 0
    assert coral.coral(x + 5, y).item() == pytest.approx(wanted), "a shift of the mean does not count"
    assert torch.autograd.gradcheck(coral.coral, (x, y))
    assert coral.coral(x[:, :1], y[:, :1]).ndim == 0


# ---- adversaries
def test_the_gradient_is_reversed_and_only_the_gradient():
    x = torch.randn(4, 3, requires_grad=True)
    assert torch.equal(adversarial.reverse_gradient(x, 0.3), x)
    (gradient,) = torch.autograd.grad((adversarial.reverse_gradient(x, 0.3) ** 2).sum(), x)
    assert torch.allclose(gradient, -0.3 * 2 * x)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_critic_learns_at_full_strength_and_the_features_against_it(joint, weight):
    torch.manual_seed(1)
    for method in (adversarial.Dann(5).double(), adversarial.Cdan(5, 4).double()):
        critic, features = list(method.parameters()), [joint.source_features, joint.target_features]
        found = torch.autograd.grad(method(joint, weight), critic + features)
        plain = torch.autograd.grad(method(joint, -1.0), critic + features)  # minus 1: no reversal
        for place, (got, wanted) in enumerate(zip(found, plain, strict=True)):
            assert torch.allclose(got, wanted if place < len(critic) else -weight * wanted)


def test_dann_and_cdan_equal_a_written_out_reference(joint):
    def nll(critic, both, share):
        logits = critic(both)[:, 0]
        signs = torch.cat([torch.ones(8), -torch.ones(8)])
        return (share * F.softplus(-signs * logits)).mean()

    dann, cdan = adversarial.Dann(5).double(), adversarial.Cdan(5, 4).double()
    with torch.no_grad():  # a critic with opinions: one that always says 0 hides how images are weighted
        for p in (*dann.parameters(), *cdan.parameters()):
            p.mul_(5)
    both = torch.cat([joint.source_features, joint.target_features])
    assert torch.isclose(dann(joint, 1.0), nll(dann.critic, both, 1))
    p = torch.cat([joint.source_logits, joint.target_logits]).softmax(1).detach()
    share = 1 + torch.exp((p * p.log()).sum(1))
    share = torch.cat([half / half.mean() for half in share.split(8)])
    outer = torch.einsum("nc,nd->ncd", p, both).flatten(1)
    assert torch.isclose(cdan(joint, 1.0), nll(cdan.critic, outer, share), rtol=1e-4)
    (gradient,) = torch.autograd.grad(cdan(joint, 1.0), joint.target_logits, allow_unused=True)
    assert gradient is None, "the predictions only condition the critic, they are not trained by it"


# ---- predictions
def test_entropy_and_diversity_at_their_limits():
    guess, sure, one = torch.zeros(6, 5), 200 * torch.eye(5), 200 * torch.eye(5)[[2] * 6]
    assert information.entropy(guess).item() == pytest.approx(np.log(5)) == information.diversity(guess).item()
    assert information.entropy(sure) < 1e-6 and information.diversity(sure).item() == pytest.approx(np.log(5))
    assert information.entropy(one) < 1e-6 and information.diversity(one).abs() < 1e-6
    for bad in (torch.zeros(0, 5), torch.zeros(4, 1), torch.zeros(4)):
        with pytest.raises(ValueError, match="two classes or more"):
            information.entropy(bad)


def test_methods_on_predictions_weigh_their_terms(joint):
    certain, diverse = information.entropy(joint.target_logits), information.diversity(joint.target_logits)
    assert torch.isclose(information.information_maximisation(joint, 0.5), 0.5 * (certain - diverse))
    assert torch.isclose(information.entropy_minimisation(joint, 0.5), 0.5 * certain)
    assert torch.isclose(information.mcc(joint, 0.5), 0.5 * information.class_confusion(joint.target_logits))


def test_losses_on_predictions_have_finite_and_right_gradients(joint):
    logits = joint.target_logits
    assert torch.autograd.gradcheck(lambda x: information.entropy(x) - information.diversity(x), logits)
    for sharp in (logits * 1e4, torch.zeros_like(logits)):
        sharp = sharp.detach().requires_grad_()
        total = information.entropy(sharp) - information.diversity(sharp) + information.class_confusion(sharp)
        assert torch.isfinite(torch.autograd.grad(total, sharp)[0]).all()


def test_class_confusion_equals_a_reference(joint):
    logits = joint.target_logits.detach()
    p = np.exp(logits.numpy() / 2.5)
    p /= p.sum(1, keepdims=True)
    weight = 1 + np.exp((p * np.log(p)).sum(1))
    weight *= len(p) / weight.sum()
    c = sum(w * np.outer(row, row) for w, row in zip(weight, p, strict=True))
    c /= c.sum(1, keepdims=True)
    wanted = (c.sum() - np.trace(c)) / 4
    assert information.class_confusion(logits).item() == pytest.approx(wanted)
    assert information.class_confusion(100 * torch.eye(4)).item() == pytest.approx(0, abs=1e-6)
    assert information.class_confusion(logits.roll(1, 1)).item() == pytest.approx(wanted), "the classes' order does not count"
    with pytest.raises(ValueError, match="temperature"):
        information.class_confusion(logits, 0)


# ---- transport
def test_transport_finds_the_cheapest_pairs():
    from itertools import permutations

    cost = rng.random((5, 5))
    best = min(cost[range(5), list(order)].sum() for order in permutations(range(5)))
    partners = transport.cheapest_partners(cost)
    assert sorted(partners) == list(range(5)) and cost[range(5), partners].sum() == pytest.approx(best)
    for bad in (np.ones((2, 3)), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="square matrix of finite"):
            transport.cheapest_partners(bad)


def test_deep_jdot_is_the_least_total_cost_and_0_for_equal_domains(joint):
    distance = torch.cdist(joint.source_features, joint.target_features) ** 2
    nll = torch.stack([F.cross_entropy(joint.target_logits, label.expand(8), reduction="none") for label in joint.source_labels])
    cost = (0.01 * distance + nll).detach().numpy()
    partner = transport.cheapest_partners(cost)
    wanted = cost[range(8), partner].mean()
    assert transport.deep_jdot(joint, 0.5).item() == pytest.approx(0.5 * wanted)
    sure = 100 * F.one_hot(joint.source_labels, 4).double()
    same = joint._replace(target_features=joint.source_features, target_logits=sure)
    assert transport.deep_jdot(same, 1.0).item() == pytest.approx(0, abs=1e-9)


# ---- self-training
def test_the_surest_of_each_class_are_kept():
    guesses = np.array([[0.99, 0.01], [0.98, 0.02], [0.97, 0.03], [0.4, 0.6], [0.45, 0.55]])
    assert self_training.confident_by_class(guesses, 0.5).tolist() == [0, 3]
    assert self_training.confident_by_class(guesses, 1.0).tolist() == [0, 1, 2, 3, 4]
    assert self_training.confident_by_class(guesses[:1], 0.1).tolist() == [0], "at least one"
    for share, array in ((0, guesses), (1.1, guesses), (0.5, guesses[:0])):
        with pytest.raises(ValueError, match="share is|guesses have shape"):
            self_training.confident_by_class(array, share)


def test_self_training_returns_another_net_and_refuses_no_round():
    net = benchmark.new_net(0).eval()
    before = [p.clone() for p in net.parameters()]
    data = torch.rand(20, 1, 8, 8), np.arange(20) % 10, torch.rand(16, 1, 8, 8)
    trained = self_training.self_train(net, *data, rounds=2, steps=2)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))
    assert any(not torch.equal(p, q) for p, q in zip(trained.parameters(), before, strict=True))
    with pytest.raises(ValueError, match="one round or more"):
        self_training.self_train(net, *data, rounds=0)


# ---- the graph
def test_the_graph_is_symmetric_has_no_loops_and_links_near_rows():
    points = rng.normal(size=(40, 3))
    links = graph.neighbour_graph(points, 5)
    assert np.allclose(links, links.T) and (np.diag(links) == 0).all() and links.min() >= 0
    nearest = np.argsort(np.linalg.norm(points[:, None] - points, axis=2) + np.diag(np.full(40, np.inf)), 1)[:, :5]
    assert (np.take_along_axis(links, nearest, 1) > 0).all() and (links > 0).sum(1).min() >= 5
    assert np.abs(np.linalg.eigvalsh(links.astype(float))).max() <= 1 + 1e-5, "spreading must not blow up"
    for neighbours in (0, 40):
        with pytest.raises(ValueError, match="neighbours is"):
            graph.neighbour_graph(points, neighbours)


def test_spreading_converges_to_the_closed_form():
    links, guesses = graph.neighbour_graph(rng.normal(size=(30, 2)), 4).astype(float), rng.dirichlet(np.ones(3), 30)
    closed = np.linalg.solve(np.eye(30) - 0.7 * links, 0.3 * guesses)
    np.testing.assert_allclose(graph.spread(links, guesses, 0.3, 200), closed / closed.sum(1, keepdims=True), atol=1e-4)
    np.testing.assert_allclose(graph.spread(links, guesses, 1.0), guesses, atol=1e-6)
    for bad, message in (((links[:5, :5], guesses), "the same images"), ((links, guesses, 0), "stay is")):
        with pytest.raises(ValueError, match=message):
            graph.spread(*bad)


def test_balancing_gives_the_classes_their_shares():
    guesses = rng.dirichlet([5, 1, 1], 60)
    even = graph.balance(guesses, rounds=200)
    np.testing.assert_allclose(even.sum(0), 20, atol=1e-3)
    np.testing.assert_allclose(even.sum(1), 1)
    np.testing.assert_allclose(graph.balance(guesses, [0.5, 0.3, 0.2], 200).sum(0), [30, 18, 12], atol=1e-3)
    for prior in ([0.5, 0.5], [1, 0, 0]):
        with pytest.raises(ValueError, match="give each of the 3 classes"):
            graph.balance(guesses, prior)


# ---- a second opinion, and the stream
def test_tent_trains_scales_and_shifts_alone_and_answers_before_it_learns():
    net, images = benchmark.new_net(3).eval(), torch.rand(40, 1, 8, 8)
    tent = test_time.Tent(net, learning_rate=0.05)
    weight, scale = tent.model.features[0].weight.clone(), tent.model.features[1].weight.clone()
    in_training_mode = benchmark.new_net(3).train()
    wanted = in_training_mode(images).argmax(1).numpy()
    assert np.array_equal(tent.predict(images), wanted), "the first answers use the batch's statistics and the old weights"
    assert torch.equal(tent.model.features[0].weight, weight) and not torch.equal(tent.model.features[1].weight, scale)
    assert torch.equal(net.features[1].weight, scale), "the original has changed"
    before = information.entropy(tent.model(images)).item()
    for _ in range(20):
        tent.predict(images)
    assert information.entropy(tent.model(images)).item() < before
    assert len(test_time.Tent(net).stream(images, batch_size=13)) == 40  # 13 + 13 + 13 + 1: the last joins
    frozen = test_time.Tent(net, learning_rate=0)
    frozen.predict(images)
    assert torch.equal(frozen.model.features[1].weight, scale)
    with pytest.raises(ValueError, match="two images or more"):
        tent.predict(images[:1])
    with pytest.raises(ValueError, match="no BatchNorm"):
        test_time.Tent(nn.Linear(2, 2))


# ---- the peers: the same numbers on the same data (imported here, since they take seconds)
def test_coral_equals_skada():
    from skada import _mapping as mapping
    from skada.deep import losses

    source, target = correlated(40, 5), correlated(40, 5)
    theirs = mapping.CORALAdapter(reg=None).fit_transform(np.r_[source, target], sample_domain=np.r_[np.ones(40), -2 * np.ones(40)])
    np.testing.assert_allclose(coral.coral_transform(source, target, 0) - source.mean(0), theirs[:40], atol=1e-6)
    x, y = torch.tensor(source), torch.tensor(target)
    assert coral.coral(x, y).item() == pytest.approx(losses.deepcoral_loss(x, y).item())


def test_dann_equals_skada_with_the_same_domain_classifier(joint):
    from skada.deep import _adversarial as adversarial_losses
    from skada.deep import modules

    dann, features = adversarial.Dann(5).double(), [joint.source_features, joint.target_features]
    logits = [-dann.critic(modules.GradientReversalLayer.apply(x, 0.3))[:, 0] for x in features]  # minus: their target is 1
    theirs = adversarial_losses.DANNLoss(nn.BCEWithLogitsLoss())(*logits) / 2  # they add the domains' means, in single precision
    ours = dann(joint, 0.3)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    both = [torch.autograd.grad(loss, [*dann.parameters(), *features]) for loss in (ours, theirs)]
    assert all(torch.allclose(got, wanted, rtol=1e-4, atol=1e-6) for got, wanted in zip(*both, strict=True))


def test_class_confusion_equals_skada(joint):
    from skada.deep import losses

    found = information.class_confusion(joint.target_logits).item()
    assert found == pytest.approx(losses.mcc_loss(joint.target_logits, T=2.5).item(), rel=1e-3)


def test_transport_equals_pot_and_skada(joint):
    import ot
    from skada.deep import losses

    cost = rng.random((9, 9))
    partners = transport.cheapest_partners(cost)
    assert ot.emd2(np.full(9, 1 / 9), np.full(9, 1 / 9), cost) == pytest.approx(cost[range(9), partners].mean())
    theirs = losses.deepjdot_loss(joint.source_labels, joint.target_logits, joint.source_features, joint.target_features, 0.01, 1)
    assert theirs.item() == pytest.approx(transport.deep_jdot(joint, 1.0).item())


def test_balancing_equals_pots_sinkhorn():
    import ot

    guesses = rng.dirichlet([5, 1, 1], 60)
    plan = ot.sinkhorn(np.full(60, 1 / 60), np.full(3, 1 / 3), -np.log(guesses + 1e-8), 1.0)
    np.testing.assert_allclose(graph.balance(guesses, rounds=200), plan * 60, atol=1e-3)


# ---- the benchmark
def test_the_task_keeps_target_halves_apart_and_thins_classes():
    task, thin = benchmark.make_task(3), benchmark.make_task(3, thinned=0.3)
    assert len(task.source) == 3000 and len(task.pool) + len(task.test) == 1797
    assert (thin.pool_labels < 5).sum() < 0.45 * (task.pool_labels < 5).sum()
    assert (thin.test_labels > 4).sum() == (task.test_labels > 4).sum()
    with pytest.raises(ValueError, match="no method called"):
        benchmark.train("magic", task, 0)


def test_every_loss_of_the_ladder_trains_two_steps():
    task = benchmark.make_task(0)
    small = task._replace(source=task.source[::50], labels=task.labels[::50], pool=task.pool[:40])
    for method in [*benchmark.LOSSES, "MCC" + benchmark.APART, "source only", "source only, AdaBN"]:
        net = benchmark.train(method, small, 0, steps=2, batch_size=16)
        assert fit.probabilities(net, task.test[:5]).shape == (5, 10) and fit.embed(net, task.test[:5]).shape == (5, 64)


def test_two_pipelines_agree_where_each_alone_and_both_together_say_the_same():
    task = benchmark.make_task(0)
    small = task._replace(source=task.source[::30], labels=task.labels[::30], pool=task.pool[:60], pool_labels=task.pool_labels[:60])
    pair = [benchmark.make_pipeline(small, seed, steps=3, rounds=0) for seed in (0, 1)]
    labels, same = benchmark.agreed_labels(*pair)
    alone = [graph.propagate(p.features, p.guesses).argmax(1) for p in pair]
    assert labels.shape == (60,) and np.array_equal(same, (alone[0] == alone[1]) & (alone[0] == labels))
    student = benchmark.train_student(small, np.where(np.arange(60) % 2, labels, -1), 0, steps=2)
    images, kept = benchmark.labels_of(small, np.where(np.arange(60) % 2, labels, -1))
    assert len(images) == len(kept) == 30 and isinstance(student, SmallCNN)


def test_the_mmd_of_the_ladder_is_0_for_equal_domains_and_has_a_gradient(joint):
    same = joint._replace(target_features=joint.source_features, target_logits=joint.source_logits)
    assert benchmark.mmd(same, 1.0).item() == pytest.approx(0, abs=1e-9)
    apart = joint._replace(target_features=joint.source_features + 3)
    near = joint._replace(target_features=joint.source_features + 0.3)
    assert benchmark.mmd(apart, 1.0) > benchmark.mmd(near, 1.0) > 0
    assert benchmark.mmd(apart, 5.0).item() == pytest.approx(5 * benchmark.mmd(apart, 1.0).item())
    gradients = torch.autograd.grad(benchmark.mmd(joint, 1.0), [joint.source_features, joint.target_features, joint.target_logits])
    assert all(torch.isfinite(gradient).all() and gradient.abs().max() > 0 for gradient in gradients)


def test_the_stored_benchmark_is_complete_and_its_tables_are_what_the_rows_say():
    tables = {part: benchmark.stored(part) for part in benchmark.PARTS}
    ladder = tables["ladder"]
    assert set(benchmark.LOSSES) | {"source only", "target labels"} <= set(ladder.method)
    for part in ("ladder", "agreement", "thinned", "peers"):
        assert tables[part].groupby("method").seed.apply(lambda seeds: sorted(seeds) == list(range(5))).all(), part
    weights = benchmark.stored_weights()
    used = ladder[ladder.method.isin(weights)].drop_duplicates("method").set_index("method").weight
    assert used.to_dict() == weights
    assert set(tables["selection"].seed) == {100, 101, 102} and len(tables["selection"]) >= 120
    table = benchmark.RESULTS_FILE.with_suffix(".md").read_text(encoding="utf-8")
    assert table == benchmark.markdown(tables)
    with pytest.raises(ValueError, match="no part called 'ladders': choose one of selection"):
        benchmark.stored("ladders")


def test_the_stored_runs_reach_what_the_lesson_promises():
    """No target label was used for any of these; five seeds."""
    found = {part: benchmark.stored(part).groupby("method").accuracy.agg(["mean", "min"]) for part in ("ladder", "agreement")}
    ladder, agreement = found["ladder"]["mean"], found["agreement"]
    assert ladder["source only"] >= 0.75 and ladder["MCC"] >= 0.88 and agreement["mean"]["MCC, then self-training"] >= 0.92
    one, student = agreement.loc["one pipeline, graph"], agreement.loc["two pipelines, graph, student where they agree"]
    assert one["mean"] >= 0.96 and one["min"] >= 0.93 and student["mean"] >= 0.97 and student["min"] >= 0.95
    assert agreement["mean"]["two pipelines, graph"] >= 0.975
    judged = benchmark.stored("selection")
    recommended = benchmark.verdict(judged, ["agreement with clusters"])
    assert recommended["rank correlation"].min() >= 0.75 and recommended.regret.max() <= 0.05
    assert judged.groupby("seed").size().min() >= 40


def test_a_probe_that_trains_itself_follows_a_moved_class():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 50)
    source = rng.normal(size=(100, 2)) * 0.3 + np.stack([4.0 * labels, 0 * labels], 1)
    target = rng.normal(size=(100, 2)) * 0.3 + np.stack([4.0 * labels, 3.0 * labels], 1)
    plain = self_training.self_train_probe(source, labels, target, shares=())
    taught = self_training.self_train_probe(source, labels, target)
    assert abs(plain.predict_proba(target)[:, 1] - labels).mean() > abs(taught.predict_proba(target)[:, 1] - labels).mean()
    assert taught.score(target, labels) == 1.0
    with pytest.raises(ValueError, match="share"):
        self_training.self_train_probe(source, labels, target, shares=(2,))
