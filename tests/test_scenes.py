"""Scenes are the same each time, their boxes and points lie where the objects are, and training shares nothing with testing."""
import numpy as np
import pytest

from helpers.data import scenes


def test_no_photograph_is_used_for_both():
    assert not set(scenes.TRAIN_PHOTOGRAPHS) & set(scenes.TEST_PHOTOGRAPHS)


def test_backgrounds_are_pieces_of_photographs():
    piece = scenes.background(np.random.default_rng(0), train=False, side=64)
    assert piece.shape == (64, 64, 3) and piece.dtype == np.uint8


def test_digit_scenes_are_repeatable_and_a_longer_set_begins_with_a_shorter_one():
    few, more, other = scenes.digit_scenes(4, 0, True), scenes.digit_scenes(7, 0, True), scenes.digit_scenes(4, 1, True)
    assert (few.images == more.images[:4]).all() and (few.images != other.images).any()
    assert all((a == b).all() for a, b in zip(few.boxes, more.boxes, strict=False))


def test_boxes_lie_in_the_image_and_do_not_overlap():
    data = scenes.digit_scenes(40, 3, False)
    for boxes, labels in zip(data.boxes, data.labels, strict=True):
        assert 1 <= len(boxes) == len(labels) <= scenes.MOST_DIGITS and ((labels >= 0) & (labels < 10)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all() and boxes.min() >= 0 and boxes.max() <= scenes.SIDE
        for number, (left, top, right, bottom) in enumerate(boxes):
            for x, y, until_x, until_y in boxes[number + 1 :]:
                assert right <= x or until_x <= left or bottom <= y or until_y <= top


def test_digits_change_the_picture_inside_their_boxes_alone(monkeypatch):
    monkeypatch.setattr(scenes, "background", lambda rng, train: np.full((128, 128, 3), 100, np.uint8))
    image, boxes, _ = scenes._digit_scene(np.random.default_rng(0), True, 3)
    outside = np.ones((128, 128), bool)
    for left, top, right, bottom in boxes.astype(int):
        assert np.abs(image[top:bottom, left:right].astype(int) - 100).max() > 30
        outside[max(0, top - 6) : bottom + 6, max(0, left - 6) : right + 6] = False  # faint ink reaches a little further
    assert (image[outside] == 100).all()


def test_crowds_are_repeatable_counted_and_sometimes_empty():
    data = scenes.crowds(60, 0, True)
    assert (data.images[:5] == scenes.crowds(5, 0, True).images).all()
    assert data.counts.min() < 3 and 35 < data.counts.max() <= scenes.MOST_PEBBLES
    for points in data.points:
        assert points.shape[1] == 2 and (points > 0).all() and (points < scenes.SIDE).all()
    grey = (np.ptp(data.images.astype(int), axis=-1).max((1, 2)) == 0).mean()
    assert 0.15 < grey < 0.5


def test_pebbles_lie_at_their_points(monkeypatch):
    monkeypatch.setattr(scenes, "background", lambda rng, train: np.zeros((128, 128, 3), np.uint8))
    rng = np.random.default_rng(5)
    image, points = scenes._crowd(rng, True, 20)
    assert len(points) > 3
    brightness = [image[int(y), int(x)].mean() for x, y in points]
    assert np.mean(brightness) > 40 > image[0, 0].mean()


@pytest.mark.parametrize("make", [scenes.digit_scenes, scenes.crowds])
def test_no_scenes_are_refused(make):
    for arguments in ({"count": 0}, {"count": 2, "most": 0}):
        with pytest.raises(ValueError, match="ask for 1 or more"):
            make(**{"seed": 0, "train": True, **arguments})
