"""Clips and trackers: peers and slow references, what a path may be, poolings of a clip, and every refusal."""
import numpy as np
import pytest
import torch
from skimage.feature import match_template

from helpers import tracking
from helpers.data import clips


def texture(seed: int = 0, height: int = 64, width: int = 64) -> np.ndarray:
    """A smooth random texture in 0-255."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 2.0)
    return 127 + 60 * noise / noise.std()


def moving(steps: list[tuple[float, float]], size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """A textured disc over another texture: frames (t, 64, 64, 3) uint8 and centres."""
    disc = np.dstack([*[texture(seed, size, size) for seed in (1, 2, 3)], np.ones((size, size))])
    still = np.dstack([texture(seed) for seed in (4, 5, 6)])
    frames = []
    for step in steps:
        picture = still.copy()
        clips.paste(picture, disc, step, size)
        frames.append(np.clip(picture, 0, 255).astype(np.uint8))
    return np.stack(frames), np.array(steps, float)


PATH = [(24.0 + 2 * t, 30.0 + t) for t in range(8)]


def test_zero_mean_correlation_is_that_of_scikit_image():
    image, template = texture(0), texture(0)[10:19, 20:29] + np.random.default_rng(1).normal(0, 9, (9, 9))
    ours = tracking.zero_mean(torch.tensor(image)[None, None], torch.tensor(template)[None])[0].numpy()
    assert np.allclose(ours, match_template(image, template), atol=1e-4)
    assert np.unravel_index(ours.argmax(), ours.shape) == (10, 20)


def test_zero_mean_correlation_is_deaf_to_light_and_takes_the_best_of_several_templates():
    image = torch.tensor(texture(0))[None, None]
    first, second = image[0, :, 5:14, 5:14], image[0, :, 30:39, 40:49]
    plain = tracking.zero_mean(image, first)
    assert torch.allclose(plain, tracking.zero_mean(0.2 * image + 30, first), atol=1e-4)
    several = tracking.zero_mean(image, torch.stack([first, second]))
    assert torch.allclose(several, torch.maximum(plain, tracking.zero_mean(image, second)))
    assert torch.isfinite(tracking.zero_mean(torch.full((1, 3, 20, 20), 7.0), torch.full((3, 5, 5), 7.0))).all()


def test_cosine_is_the_mean_of_the_cosines():
    maps, template = torch.randn(2, 5, 8, 9), torch.randn(5, 3, 3)
    scores = tracking.cosine(maps, template)
    assert scores.shape == (2, 6, 7)
    window = maps[1, :, 2:5, 4:7]
    expected = torch.nn.functional.cosine_similarity(window, template, dim=0).mean()
    assert torch.isclose(scores[1, 2, 4], expected, atol=1e-5)
    found = tracking.cosine(maps, maps[0][:, 1:4, 2:5])
    assert torch.isclose(found[0, 1, 2], torch.tensor(1.0)) and tracking.peak(found, 3)[0].tolist() == [14.0, 10.0]


def test_a_template_is_odd_and_is_moved_inwards_at_the_border():
    maps = torch.arange(16 * 16.0).view(1, 16, 16)
    inside = tracking.cut_template(maps, (30, 34), 20)
    assert inside.shape == (1, 5, 5) and inside[0, 2, 2] == maps[0, 8, 7]
    assert torch.equal(tracking.cut_template(maps, (0, 0), 20), maps[:, :5, :5])
    assert torch.equal(tracking.cut_template(maps, (64, 64), 20), maps[:, -5:, -5:])


@pytest.mark.parametrize("centre", [(-1, 5), (5, 65)])
def test_a_centre_outside_of_the_frame_is_refused(centre):
    frames, _ = moving(PATH)
    for run in (
        lambda: tracking.cut_template(torch.zeros(1, 16, 16), centre, 20),
        lambda: tracking.search_templates(frames, centre, 20),
        lambda: tracking.follow_flow(frames, centre, 20),
    ):
        with pytest.raises(ValueError, match="lies outside of a frame of 64 x 64 pixels"):
            run()


def test_too_large_objects_empty_clips_and_other_arrays_are_refused():
    with pytest.raises(ValueError, match="does not fit"):
        tracking.cut_template(torch.zeros(1, 16, 16), (30, 30), 100)
    with pytest.raises(ValueError, match="no frames"):
        tracking.colour_maps(np.zeros((0, 8, 8, 3), np.uint8))
    for wrong in (np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 3))):
        with pytest.raises(ValueError, match=r"pass \(t, h, w, 3\) of uint8"):
            tracking.follow_flow(wrong, (4, 4), 4)
    for wrong in ({"update": 1.5}, {"update": -0.1}, {"window": 0}):
        with pytest.raises(ValueError, match="update is|window is"):
            tracking.track(torch.randn(2, 3, 16, 16), (30, 30), 20, **wrong)
    with pytest.raises(ValueError, match="pass as many"):
        tracking.late_hits(np.zeros((3, 2)), np.zeros((2, 2)), 9)


@pytest.mark.parametrize("how", [{}, {"window": 12}, {"update": 0.3}, {"window": 12, "update": 0.3}])
def test_every_tracker_follows_a_disc_that_only_moves(how):
    frames, centres = moving(PATH)
    path = tracking.track(tracking.colour_maps(frames, 2), centres[0], 24, 2, tracking.zero_mean, **how)
    assert path.shape == centres.shape and np.abs(path - centres).max() <= 2
    assert np.array_equal(path[0], centres[0]) and tracking.late_hits(path, centres, 24) == 1


def test_flow_and_templates_follow_a_disc_that_only_moves():
    frames, centres = moving(PATH)
    assert np.abs(tracking.follow_flow(frames, centres[0], 24) - centres).max() < 1
    assert np.abs(tracking.search_templates(frames, centres[0], 24, [-30, 0, 30], [1.0], stride=2) - centres).max() <= 2


def test_one_frame_is_a_path_of_one_place():
    frames, centres = moving(PATH[:1])
    for path in (
        tracking.track(tracking.colour_maps(frames), centres[0], 24),
        tracking.track(tracking.colour_maps(frames), centres[0], 24, window=9, update=0.5),
        tracking.search_templates(frames, centres[0], 24),
        tracking.follow_flow(frames, centres[0], 24),
    ):
        assert path.tolist() == centres.tolist()


def test_turned_templates_find_a_turned_disc():
    disc = np.dstack([*[texture(seed, 32, 32) for seed in (1, 2, 3)], np.ones((32, 32))])
    frames = []
    for angle, centre in ((0, (24, 24)), (60, (40, 38))):
        picture = np.dstack([texture(seed) for seed in (4, 5, 6)])
        clips.paste(picture, disc, centre, 24, angle)
        frames.append(np.clip(picture, 0, 255).astype(np.uint8))
    found = tracking.search_templates(np.stack(frames), (24, 24), 18, [-60, 0, 60], [1.0], stride=2)
    assert np.abs(found[1] - (40, 38)).max() <= 2
    templates = tracking.turned_templates(frames[0], (24, 24), 18, 2, [-60, 0, 60], 1.0)
    clockwise, _, anticlockwise = (tracking.zero_mean(tracking.colour_maps(np.stack(frames), 2), one)[1].max() for one in templates)
    assert anticlockwise > clockwise + 0.3  # as it was pasted


def test_a_window_keeps_the_nearest_place_and_no_farther_one():
    allowed = tracking.near((10, 12), (30, 22), 5, 3)
    rows, columns = np.nonzero(allowed.numpy())
    places = (np.stack([columns, rows], 1) + 1.5) * 4
    assert len(places) and (np.hypot(*(places - (30, 22)).T) <= 5).all()
    assert tracking.near((10, 12), (0, 0), 0.1, 3).sum() == 1


def test_a_window_tells_twins_apart():
    maps = torch.randn(1, 4, 30, 30).repeat(3, 1, 1, 1)
    for t, column in enumerate((5, 6, 7)):
        maps[t, :, 10:13, column : column + 3] = 3.0 * torch.arange(1, 37.0).view(4, 3, 3).cos()
        maps[t, :, 10:13, 20:23] = 3.0 * torch.arange(1, 37.0).view(4, 3, 3).cos()
    path = tracking.track(maps, (26, 46), 12, window=8)
    assert path[:, 0].tolist() == [26, 30, 34]


@pytest.mark.parametrize("step", [(0.4, 0.0), (-1.3, 0.8), (2.5, -2.0)])
def test_lucas_kanade_finds_a_shift(step):
    from scipy.ndimage import gaussian_filter, shift

    first = gaussian_filter(texture(3), 1.5)
    second = shift(first, (step[1], step[0]), order=3, mode="nearest")
    assert np.allclose(tracking.lucas_kanade(first, second, (32, 30), 20), step, atol=0.1)
    assert np.allclose(tracking.lucas_kanade(np.full((64, 64), 5.0), np.full((64, 64), 9.0), (32, 32), 20), 0)


def test_standard_maps_use_the_first_frame_alone_and_survive_a_constant_channel():
    maps = torch.randn(3, 2, 8, 8)
    maps[:, 1] = 4
    made = tracking.standard_maps(maps, 4)
    assert torch.allclose(made[0, 0].mean(), torch.tensor(0.0), atol=1e-5) and torch.isfinite(made).all()
    changed = maps.clone()
    changed[2] = 100
    assert torch.equal(tracking.standard_maps(changed, 4)[:2], made[:2])
    assert tracking.standard_maps(maps, 8).shape == (3, 2, 16, 16)


def square(backwards: bool = False) -> np.ndarray:
    maps = np.zeros((1, 6, 2, 8, 8))
    for t in range(6):
        maps[0, t, :, 3:5, t : t + 2] = 1
    return maps[:, ::-1] if backwards else maps


def test_poolings_of_a_clip():
    assert np.allclose(tracking.pool_all(square()), tracking.pool_all(square(True)))
    assert np.allclose(tracking.pool_what_moves(square()), tracking.pool_what_moves(square(True)))
    assert (tracking.pool_what_moves(square()) > tracking.pool_all(square())).all()
    forwards, backwards = tracking.path_of_change(square()), tracking.path_of_change(square(True))
    assert np.allclose(forwards, -backwards) and forwards[0, 0] > 0.3 and abs(forwards[0, 1]) < 1e-9


def test_a_clip_without_motion_and_one_of_a_single_frame_have_defined_answers():
    still = np.random.default_rng(0).normal(size=(2, 1, 3, 4, 4)).repeat(5, axis=1)
    assert np.allclose(tracking.pool_what_moves(still), tracking.pool_all(still))
    assert np.isfinite(tracking.path_of_change(still)).all()
    assert np.allclose(tracking.pool_what_moves(still[:, :1]), tracking.pool_all(still[:, :1]))
    with pytest.raises(ValueError, match="motion needs 2 or more"):
        tracking.path_of_change(still[:, :1])
    with pytest.raises(ValueError, match="motion needs 2 or more"):
        tracking.mean_flow(np.zeros((1, 1, 32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match="pass \\(clips, frames, channels"):
        tracking.pool_all(np.zeros((2, 3, 4)))


def test_mean_flow_points_where_the_disc_goes():
    right, down = moving([(20 + 3 * t, 32) for t in range(6)])[0], moving([(32, 20 + 3 * t) for t in range(6)])[0]
    flows = tracking.mean_flow(np.stack([right, right[::-1], down]))
    assert flows[0, 0] > 1 and flows[1, 0] < -1 and flows[2, 1] > 1 and abs(flows[0, 1]) < 1


def test_a_template_moves_by_the_share_of_the_update():
    """Three frames; the second shows something half way to another pattern. Kept, mixed and latest templates score it differently."""
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 4, 9, 9, generator=generator)
    seen = []

    def score(maps: torch.Tensor, template: torch.Tensor) -> torch.Tensor:
        seen.append(template)
        return torch.zeros(1, 7, 7).index_put((torch.tensor(0), torch.tensor(3), torch.tensor(3)), torch.tensor(1.0))

    tracking.track(torch.stack([first, second, second]), (18, 18), 12, score=score, update=0.25)
    middle = slice(3, 6)
    assert torch.allclose(seen[1], 0.75 * first[:, middle, middle] + 0.25 * second[:, middle, middle])


def test_only_the_last_third_counts_as_late():
    centres = np.zeros((9, 2))
    path = centres + np.array([[100, 0]] * 6 + [[0, 0], [3, 0], [4, 0]])
    assert tracking.late_hits(path, centres, 9) == pytest.approx(2 / 3)  # within a third of 9 pixels


def test_standard_maps_have_mean_0_and_deviation_1_in_the_first_frame():
    made = tracking.standard_maps(5 + 3 * torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), 4)
    assert torch.allclose(made[0].mean((1, 2)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(made[0].std((1, 2)), torch.ones(3), atol=1e-2)


def test_window_means_of_a_window_that_is_no_square():
    maps = torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(tracking.window_mean(maps, (2, 5)), torch.nn.functional.avg_pool2d(maps, (2, 5), stride=1), atol=1e-6)
