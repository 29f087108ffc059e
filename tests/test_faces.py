"""The faces are the 200 images that scikit-image ships, and damage to the file is named."""
import numpy as np
import pytest
import skimage

from helpers.data import faces
from helpers.data.images import check_images, check_labels
from helpers.errors import CourseError


def test_faces_are_what_the_card_says():
    data = faces.load_faces()
    assert check_images(data.images).shape == (200, 25, 25) and data.images.dtype == np.uint8 and data.images.max() > 250
    assert check_labels(data.labels, 200).tolist() == [1] * 100 + [0] * 100
    assert data.class_names[1] == "face" and "200" in faces.verify()


DAMAGE = [(None, "cannot be read"), (b"half a file", "cannot be read"), (np.zeros((3, 25, 25)), "not the 200")]


@pytest.mark.parametrize("content, says", DAMAGE)
def test_a_missing_or_damaged_file_is_named(content, says, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(skimage, "__file__", str(tmp_path / "__init__.py"))
    path = tmp_path / "data" / "lfw_subset.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(CourseError, match=says):
        faces.load_faces()
