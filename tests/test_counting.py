"""Density maps sum to the count wherever the points lie; counters learn; bad input is named."""
import numpy as np
import pytest
import torch

from helpers import counting


@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_density_map_sums_to_the_count(count):
    points = np.random.default_rng(count).uniform(0, 128, (count, 2))
    density = counting.density_maps([points, points[:0]])
    assert density.shape == (2, 16, 16) and density.sum((1, 2)).tolist() == pytest.approx([count, 0], abs=1e-3) and density.min() >= 0


def test_a_hill_lies_where_its_point_is():
    density = counting.density_maps([np.array([[100.0, 20.0]])], sigma=4)[0].double().numpy()
    assert divmod(int(density.argmax()), 16) == (2, 12)
    middle = np.arange(16) * 8 + 4.0
    assert (density.sum(0) @ middle, density.sum(1) @ middle) == pytest.approx((100, 20), abs=0.1)  # its centre of mass
    assert density.sum(0) @ (middle - 100) ** 2 == pytest.approx(16, rel=0.2)  # and its width


@pytest.mark.parametrize("points, says", [
    (np.array([[130.0, 5.0]]), "lies outside"), (np.array([[-1.0, 5.0]]), "lies outside"), (np.array([1.0, 2.0, 3.0]), "x and y"),
    (np.array([[float("nan"), 5.0]]), "lies outside"),
])  # fmt: skip
def test_unusable_points_are_named(points, says):
    with pytest.raises(ValueError, match=says):
        counting.density_maps([points])


def planted(count: int, seed: int) -> tuple[tuple[torch.Tensor, torch.Tensor], list[np.ndarray], np.ndarray]:
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    points = [rng.uniform(0, 128, (rng.integers(0, 30), 2)) for _ in range(count)]
    fine = 0.05 * torch.randn(count, 40, 16, 16, generator=generator)
    fine[:, 3] += 9 * counting.density_maps(points)
    return (fine, torch.randn(count, 112, 8, 8, generator=generator)), points, np.array([len(of_image) for of_image in points])


def test_counters_learn_what_the_maps_show():
    (maps, points, counts), (asked, _, true) = planted(60, 0), planted(30, 1)
    torch.manual_seed(0)
    head = counting.DensityHead()
    counting.train_counter(head, maps, points, steps=120, learning_rate=8e-3)
    trivial = counting.mean_absolute_error(np.full(30, counts.mean()), true)
    assert counting.mean_absolute_error(counting.count(head, asked), true) < trivial / 2
    straight = counting.ridge(maps, counts).predict(counting.pooled(asked))
    assert counting.mean_absolute_error(straight, true) < trivial
    assert head(asked).min() >= 0


def test_turning_and_mirroring_moves_image_and_map_alike():
    image, density = torch.zeros(1, 3, 16, 16), torch.zeros(1, 2, 2)
    image[..., 2, 12], density[0, 0, 1] = 1, 1  # upper right
    for turn in range(4):
        for mirror in (False, True):
            (moved,), said = counting.turn_and_mirror((image,), density, turn, mirror)
            coarse = torch.nn.functional.max_pool2d(moved, 8)[:, 0]
            assert coarse.equal(said) and said.sum() == 1


def test_a_net_from_scratch_has_maps_of_the_same_kind():
    net = counting.ScratchCounter()
    images, points = torch.randn(6, 3, 128, 128), [np.array([[5.0, 6.0]])] * 6
    counting.train_counter(net, (images,), points, steps=3, augment=True)
    assert counting.count(net, (images,)).shape == (6,)
    assert counting.mean_absolute_error([1, 5], [2, 3]) == 1.5


def test_the_stored_comparison_is_complete():
    table = counting.comparison()
    assert table.groupby(["arm", "scenes"]).seed.nunique().min() >= 3 and set(table.scenes) == {20, 100} and (table.error > 0).all()
