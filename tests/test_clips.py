"""Clips made of photographs: what each change does, what never leaks from training to test, and every refusal."""
import numpy as np
import pytest

from helpers.data import clips
from helpers.data.scenes import TEST_PHOTOGRAPHS, TRAIN_PHOTOGRAPHS


def test_a_clip_says_where_its_object_is_and_is_the_same_each_time():
    clip = clips.tracking_clip(3)
    again = clips.tracking_clip(3)
    assert clip.frames.shape == (20, 128, 128, 3) and clip.frames.dtype == np.uint8 and clip.centres.shape == (20, 2)
    assert np.array_equal(clip.frames, again.frames) and clip.name in clips.TEST_OBJECTS
    assert (clip.centres > clips.SIZE / 2).all() and (clip.centres < clips.SIDE - clips.SIZE / 2).all()


@pytest.mark.parametrize("change", clips.CHANGES)
def test_every_change_is_seen_and_leaves_the_path_alone(change):
    plain, changed = clips.tracking_clip(1), clips.tracking_clip(1, [change])
    assert np.array_equal(plain.centres, changed.centres) and plain.name == changed.name
    assert np.abs(plain.frames.astype(int) - changed.frames).max() > 40
    if change in ("rotation", "scale", "light", "turn"):
        assert np.array_equal(plain.frames[0], changed.frames[0])


def test_the_object_is_where_the_centres_say():
    clip, hidden = clips.tracking_clip(1), clips.tracking_clip(1, ["screen"])
    x, y = clip.centres[0].astype(int)
    assert np.array_equal(clip.frames[0, y - 9 : y + 9, x - 9 : x + 9], hidden.frames[0, y - 9 : y + 9, x - 9 : x + 9])
    middle = len(clip.frames) // 2
    x, y = clip.centres[middle].astype(int)
    around = np.s_[middle, y - 9 : y + 9, x - 9 : x + 9]
    assert np.abs(clip.frames[around].astype(int) - hidden.frames[around]).mean() > 15


def test_nothing_of_the_test_is_in_the_clips_to_choose_on():
    assert not set(clips.TRAIN_OBJECTS) & set(clips.TEST_OBJECTS) and not set(TRAIN_PHOTOGRAPHS) & set(TEST_PHOTOGRAPHS)
    assert not set(clips.TRAIN_OBJECTS) & set(TEST_PHOTOGRAPHS) and not set(clips.TEST_OBJECTS) & set(TRAIN_PHOTOGRAPHS)
    assert not set(clips.MATERIALS) & {*TRAIN_PHOTOGRAPHS, *TEST_PHOTOGRAPHS}
    assert {clips.tracking_clip(seed, train=True, frames=1).name for seed in range(12)} <= set(clips.TRAIN_OBJECTS)


def test_unusable_arguments_are_refused():
    with pytest.raises(ValueError, match="no change called 'blur': choose from rotation"):
        clips.tracking_clip(0, ["rotation", "blur"])
    with pytest.raises(ValueError, match="a clip has 1 or more"):
        clips.tracking_clip(0, frames=0)
    with pytest.raises(ValueError, match="make 1 or more"):
        clips.moving_clips(0, train=True)
    assert clips.tracking_clip(0, frames=1).frames.shape[0] == 1


def test_what_is_pasted_outside_is_lost():
    image = np.zeros((20, 20, 3))
    disc = np.full((8, 8, 4), 1.0)
    clips.paste(image, disc, (100, 100), 8)
    assert not image.any()
    clips.paste(image, disc, (0, 10), 8)
    assert image[10, :3].all() and not image[:, 6:].any()


def test_moving_clips_are_balanced_and_move_as_their_label_says(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    made = clips.moving_clips(1, train=True)
    assert made.clips.shape == (32, 6, 64, 64, 3) and made.clips.dtype == np.uint8
    assert np.array_equal(np.bincount(made.materials), [4] * 8) and np.array_equal(np.bincount(made.directions), [8] * 4)
    change = np.abs(np.diff(made.clips.astype(float), axis=1)).mean(4)  # (n, 5, 64, 64)
    change = np.where(change > 30, change, 0)
    weight = change.sum((2, 3))
    across = (change.sum(2) * np.arange(64)).sum(2) / np.maximum(weight, 1)
    down = (change.sum(3) * np.arange(64)).sum(2) / np.maximum(weight, 1)
    moved = np.stack([across[:, -1] - across[:, 0], down[:, -1] - down[:, 0]], 1)
    wanted = np.array([clips.STEPS[clips.DIRECTIONS[label]] for label in made.directions])
    assert ((moved * wanted).sum(1) > 2).mean() > 0.8
    other = clips.moving_clips(1, train=False)
    assert not np.array_equal(other.clips, made.clips)
