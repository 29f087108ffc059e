"""Figures, keypoints and masks: references, hand-worked cases, what is stored, and every refusal."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import jaccard_score

from helpers import dense, keypoints
from helpers.data import coins, figures, scenes


def test_figures_are_the_same_each_time_and_stand_on_other_photographs_for_testing():
    train, again, test = figures.load_figures(6, True), figures._draw_all.__wrapped__(6, True, 0, False), figures.load_figures(6, False)
    assert all(np.array_equal(a, b) for a, b in zip(train, again, strict=True))
    assert train.images.shape == (6, 128, 128, 3) and train.images.dtype == np.uint8
    assert train.joints.shape == (6, 7, 2) and train.masks.shape == (6, 128, 128) and train.masks.dtype == bool
    assert not np.array_equal(train.images, test.images)
    assert not set(scenes.TRAIN_PHOTOGRAPHS) & set(scenes.TEST_PHOTOGRAPHS)


def test_every_joint_lies_on_its_figure_and_left_is_left():
    drawn = figures.load_figures(40, True, seed=3)
    for joints, mask in zip(drawn.joints, drawn.masks, strict=True):
        inside = (joints > 1).all(1) & (joints < 126).all(1)
        for x, y in joints[inside].round().astype(int):
            assert mask[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].any()
    assert (drawn.joints[:, 3, 0] <= drawn.joints[:, 4, 0]).all() and (drawn.joints[:, 5, 0] <= drawn.joints[:, 6, 0]).all()
    assert 0.02 < drawn.masks.mean() < 0.1


def test_the_figure_is_drawn_where_the_mask_says():
    rng, other = np.random.default_rng(5), np.random.default_rng(5)
    image, _, mask = figures.draw_figure(rng, train=True)
    background = scenes.background(other, train=True)
    assert np.array_equal(image[~mask], background[~mask]) and len(np.unique(image[mask], axis=0)) == 1


def test_no_figures():
    with pytest.raises(ValueError, match="draw 1 or more"):
        figures.load_figures(0, True)


def test_busy_photographs_are_on_no_other_list_and_for_testing_only():
    assert not set(figures.BUSY_PHOTOGRAPHS) & {*scenes.TRAIN_PHOTOGRAPHS, *scenes.TEST_PHOTOGRAPHS}
    busy, calm = figures.load_figures(30, False, busy=True), figures.load_figures(30, False)
    edges = [np.abs(np.diff(part.images.astype(int), axis=2)).mean() for part in (busy, calm)]
    assert busy.images.shape == calm.images.shape and edges[0] > 1.5 * edges[1]
    with pytest.raises(ValueError, match="for testing"):
        figures.load_figures(3, True, busy=True)


def test_soft_argmax_against_a_slow_loop():
    weights = torch.rand(2, 3, 5, 7)
    found = keypoints.soft_argmax(weights, stride=4)
    for index in np.ndindex(2, 3):
        one = weights[index].double()
        x = sum(one[i, j] * (4 * j + 2) for i in range(5) for j in range(7)) / one.sum()
        y = sum(one[i, j] * (4 * i + 2) for i in range(5) for j in range(7)) / one.sum()
        assert torch.allclose(found[index].double(), torch.stack([x, y]), atol=1e-4)


def test_soft_argmax_has_an_answer_for_an_empty_map_and_a_gradient():
    assert torch.allclose(keypoints.soft_argmax(torch.zeros(1, 32, 32)), torch.tensor([[64.0, 64.0]]))
    weights = torch.rand(1, 8, 8, requires_grad=True)
    keypoints.soft_argmax(weights).sum().backward()
    assert weights.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="negative"):
        keypoints.soft_argmax(torch.tensor([[[-1.0, 2.0]]]))


def test_decode_finds_the_peaks_of_heat_maps():
    joints = torch.rand(20, 7, 2) * 100 + 14
    maps = keypoints.heat_maps(joints)
    assert maps.shape == (20, 7, 32, 32)
    found = keypoints.decode(torch.logit(maps.clamp(1e-5, 1 - 1e-5)))
    assert keypoints.pck(found, joints.numpy(), within=1) == 1
    assert found.shape == (20, 7, 2)
    second = (maps + 0.6 * maps.roll(12, -1)).clamp(1e-5, 1 - 1e-5)  # a lower peak 48 pixels further
    assert keypoints.pck(keypoints.decode(torch.logit(second)), joints.numpy(), within=2.5) > 0.9


def test_pck_by_hand_and_its_refusals():
    truth = np.zeros((1, 2, 2))
    found = np.array([[[3.0, 4.0], [0.0, 8.0]]])
    assert keypoints.distances(found, truth).tolist() == [[5, 8]]
    assert keypoints.pck(found, truth) == 0.5 and keypoints.pck(torch.tensor(found), truth, 8.1) == 1
    with pytest.raises(ValueError, match="shape"):
        keypoints.pck(found, truth[:, :1])
    with pytest.raises(ValueError, match="NaN"):
        keypoints.pck(found * np.nan, truth)
    with pytest.raises(ValueError, match="at least one figure"):
        keypoints.pck(found[:0], truth[:0])


def test_the_mirror_exchanges_left_and_right():
    one = figures.load_figures(1, True)
    images = torch.from_numpy(one.images.transpose(0, 3, 1, 2)).float().repeat(64, 1, 1, 1)
    joints = torch.from_numpy(one.joints).repeat(64, 1, 1)
    changed, places = keypoints.augment(images, joints, torch.Generator().manual_seed(0))
    mirrored = (places[:, 0, 0] != joints[:, 0, 0]).numpy()
    assert 16 < mirrored.sum() < 48
    assert torch.allclose(places[mirrored][0, 3], torch.tensor([127 - one.joints[0, 4, 0], one.joints[0, 4, 1]]))
    assert (places[:, 3, 0] <= places[:, 4, 0]).all()
    # Recolouring is affine in each channel: it leaves the correlation at 1.
    for picture, flipped in zip(changed, mirrored, strict=True):
        plain = images[0].flip(2) if flipped else images[0]
        assert np.corrcoef(picture[0].flatten(), plain[0].flatten())[0, 1] > 0.999


def test_masks_are_mirrored_with_their_images():
    images = torch.arange(8.0).reshape(1, 1, 1, 8).repeat(32, 3, 4, 1)
    changed, masks = dense.augment_masks(images, images[:, :1], torch.Generator().manual_seed(0))
    rising = changed[:, 0, 0, -1] > changed[:, 0, 0, 0]
    assert torch.equal(rising, masks[:, 0, 0, -1] > masks[:, 0, 0, 0]) and 0 < rising.sum() < 32


@pytest.mark.parametrize("side", [64, 128, 160])
def test_head_and_unet_answer_at_stride_4(side):
    maps = torch.randn(2, 40, side // 8, side // 8), torch.randn(2, 112, side // 16, side // 16)
    assert dense.DenseHead(3)(maps).shape == (2, 3, side // 4, side // 4)
    assert dense.UNet(3)(torch.randn(2, 3, side, side)).shape == (2, 3, side // 4, side // 4)


def test_training_learns_and_is_repeatable():
    drawn = figures.load_figures(8, True)
    images, targets = torch.from_numpy(drawn.images.transpose(0, 3, 1, 2)).float() / 128 - 1, dense.coarse_masks(drawn.masks)
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        net = dense.UNet(1)
        history = dense.train(net, images, targets, loss=dense.balanced_bce, steps=12, learning_rate=1e-2, batch_size=4,
                              augment=dense.augment_masks)  # fmt: skip
        weights.append(net.out.weight.detach())
    assert torch.equal(*weights) and np.mean(history.loss[-4:]) < np.mean(history.loss[:4])
    assert dense.predict(net, images, batch_size=3).shape == (8, 1, 32, 32)
    with pytest.raises(ValueError, match="one target for each input"):
        dense.train(net, images, targets[:3], loss=dense.balanced_bce, steps=1, learning_rate=1e-2)


def test_take_handles_pairs_of_maps():
    maps = [torch.arange(6).reshape(3, 2), torch.arange(3)]
    first, second = dense.take(maps, torch.tensor([2, 0]))
    assert first.tolist() == [[4, 5], [0, 1]] and second.tolist() == [2, 0]
    assert dense.take(maps[1], slice(1, 3)).tolist() == [1, 2]


def test_mask_iou_against_scikit_learn_and_its_refusals():
    rng = np.random.default_rng(0)
    masks, truth = rng.random((2, 6, 9, 8)) < 0.4
    expected = [jaccard_score(b.ravel(), a.ravel()) for a, b in zip(masks, truth, strict=True)]
    assert np.allclose(dense.mask_iou(masks, truth), expected)
    empty = np.zeros((1, 4, 4), bool)
    assert dense.mask_iou(empty, empty)[0] == 1 and dense.mask_iou(empty, ~empty)[0] == 0
    with pytest.raises(ValueError, match="shape"):
        dense.mask_iou(empty, empty[:, :3])
    with pytest.raises(ValueError, match="booleans"):
        dense.mask_iou(empty.astype(int), empty)


def test_cells_and_pixels():
    masks = np.zeros((1, 8, 8), bool)
    masks[0, :4, :4], masks[0, 0, 4] = True, True
    assert dense.coarse_masks(masks)[0, 0].tolist() == [[1, 1 / 16], [0, 0]]
    assert dense.fine_masks(torch.full((2, 1, 3, 5), 1.0)).shape == (2, 12, 20)
    with pytest.raises(ValueError, match="multiple of 4"):
        dense.coarse_masks(masks[:, :7])


def test_balanced_loss_counts_what_is_there_more():
    logits, there = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert torch.isclose(dense.balanced_bce(logits, there), np.log(2) * torch.tensor((5 + 3) / 4, dtype=torch.float32))
    assert torch.isclose(dense.balanced_bce(logits, there, 1.0), F.binary_cross_entropy_with_logits(logits, there))


def test_stored_runs_have_three_seeds_and_tuned_rates():
    for task, arms in (("keypoints", {"scratch", "random"}), ("masks", {"scratch", "random"}), ("coins", {"scratch"})):
        rows = dense.measured(task)
        assert set(rows.arm) == arms and rows.score.between(0, 1).all()
        assert (rows.groupby(["arm", "count", "steps", *(["light"] if task == "coins" else [])]).seed.nunique() == 3).all()
    assert dense.tuned_rate("super-resolution", "scratch", 4, 150) in set(dense.measured("super-resolution", tuning=True).rate)
    with pytest.raises(ValueError, match="choose one of"):
        dense.measured("poses")
    with pytest.raises(ValueError, match="no rate was tuned"):
        dense.tuned_rate("keypoints", "scratch", 7, 300)


def test_coins():
    photograph, mask = coins.load_coins()
    assert photograph.shape == mask.shape == (303, 384) and 0.3 < mask.mean() < 0.4
    images, masks = coins.crops(3, seed=1)
    assert images.shape == masks.shape == (3, 128, 128) and images.dtype == np.uint8 and masks.dtype == bool
    right, truth = coins.right_half()
    assert right.shape == truth.shape == (288, 192)
    darker = coins.lamp_from_the_left(right)
    assert darker.dtype == np.uint8 and darker[:, -40:].mean() < 0.6 * right[:, -40:].mean()
    assert not coins.classical_mask(np.full((20, 20), 90, np.uint8)).any()  # nothing dark, nothing bright
    with pytest.raises(ValueError, match="cut 1 or more"):
        coins.crops(0, 0)
