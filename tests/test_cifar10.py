"""CIFAR-10: read from an archive in the publisher's binary format, made here; with the publisher's images where they are."""
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tiny_hub

from helpers import features, few_shot_photos
from helpers.data import cifar10
from helpers.errors import CourseError


@pytest.fixture
def archive(tmp_path, monkeypatch):
    images, labels = tiny_hub.photographs(40, 0)
    with tiny_hub.publisher(monkeypatch, tmp_path, "cifar10", {"cifar-10-binary.tar.gz": tiny_hub.cifar10(images, labels)}):
        few_shot_photos.load_task.cache_clear()
        yield images, labels
        few_shot_photos.load_task.cache_clear()


def test_pixels_and_labels_are_where_they_belong(archive):
    images, labels = archive
    test = cifar10.load_cifar10("test")
    assert np.array_equal(test.images, images) and np.array_equal(test.labels, labels) and test.images.dtype == np.uint8
    train = cifar10.load_cifar10("train")
    assert train.images.shape == (5 * 400, 32, 32, 3) and train.class_names[3] == "cat" and test.labels.dtype == np.int64
    some = cifar10.load_cifar10("test", per_class=3, seed=1)
    assert np.bincount(some.labels).tolist() == [3] * 10
    assert not np.array_equal(some.images, cifar10.load_cifar10("test", per_class=3, seed=2).images)
    assert np.array_equal(some.images, cifar10.load_cifar10("test", per_class=3, seed=1).images)


def test_what_cannot_be_loaded_is_a_sentence(archive):
    with pytest.raises(ValueError, match="no split called 'dev': choose one of train, test"):
        cifar10.load_cifar10("dev")
    for wrong in (0, 41):
        with pytest.raises(ValueError, match=f"per_class is {wrong}: choose 1 to 40"):
            cifar10.load_cifar10("test", per_class=wrong)


def test_an_archive_without_the_batches_is_a_sentence(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    tarfile.open(fileobj=buffer, mode="w:gz").close()
    with tiny_hub.publisher(monkeypatch, tmp_path, "cifar10", {"cifar-10-binary.tar.gz": buffer.getvalue()}):
        with pytest.raises(CourseError, match="holds no test_batch.bin"):
            cifar10.load_cifar10("test")


def test_the_task_learns_from_one_part_and_is_tested_on_the_other(archive):
    images, labels = archive
    task = few_shot_photos.load_task(pool=20, test=10)
    assert len(task.pool) == 200 and len(task.test) == 100 and not set(task.pool) & set(task.test)
    assert np.bincount(task.labels[task.test]).tolist() == [10] * 10
    assert few_shot_photos.pixels(task.images).shape == (300, 768) and few_shot_photos.pixels(task.images).max() <= 1
    # The photographs of a class have a colour of their own here, which the pixels show.
    assert few_shot_photos.probe(task, few_shot_photos.pixels(task.images), 5, seed=0) > 0.5
    assert few_shot_photos.train_scratch(task, 5, seed=0, steps=40) > 0.2
    assert 0 <= few_shot_photos.train_scratch(task, 5, seed=0, change=None, dropout=0.3, steps=2) <= 1


@pytest.mark.skipif("COURSE_TEST_CIFAR10" not in os.environ, reason="COURSE_TEST_CIFAR10 names no folder with a folder for each class")
def test_frozen_features_lead_on_the_publishers_images(tmp_path, monkeypatch):
    from PIL import Image

    folder = Path(os.environ["COURSE_TEST_CIFAR10"])
    found = [(np.asarray(Image.open(path)), place) for place, name in enumerate(cifar10.CLASSES)
             for path in sorted((folder / name).iterdir())[:60]]
    images, labels = (np.stack(part) for part in zip(*found, strict=True))
    order = np.random.default_rng(0).permutation(len(labels))
    with tiny_hub.publisher(monkeypatch, tmp_path, "cifar10", {"cifar-10-binary.tar.gz": tiny_hub.cifar10(images[order], labels[order])}):
        test = cifar10.load_cifar10("test")  # the archive repeats it as the training part, so one part is split here
        of = features.extract(test.images, "block 13", 96)
        halves = np.arange(300), np.arange(300, 600)
        frozen, pixels = (features.linear_probe(x[halves[0]], test.labels[halves[0]]).score(x[halves[1]], test.labels[halves[1]])
                          for x in (of, few_shot_photos.pixels(test.images)))
    assert frozen > pixels + 0.15, (frozen, pixels)
