"""A folder of images embedded by one worker and by two: the same vectors; damaged images, a run that stops, a cluster; every message."""
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from helpers import scale_out
from helpers.errors import CourseError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
WEIGHTS = np.array([[1, 0], [0, 1], [1, 1]], np.float32) / 100
KIND = {"uint8": onnx.TensorProto.UINT8, "float32": onnx.TensorProto.FLOAT}


def write_model(path, shape=("n", "height", "width", 3), kind="uint8", scale=1.0):
    """An ONNX classifier: the mean colour of an image times WEIGHTS."""
    make = onnx.helper.make_node
    nodes = [make("Cast", ["images"], ["floats"], to=onnx.TensorProto.FLOAT), make("ReduceMean", ["floats", "axes"], ["mean"], keepdims=0),
             make("Gemm", ["mean", "weights"], ["logits"])]
    numbers = [onnx.numpy_helper.from_array(np.array([1, 2], np.int64), "axes"), onnx.numpy_helper.from_array(WEIGHTS * scale, "weights")]
    images = onnx.helper.make_tensor_value_info("images", KIND[kind], shape)
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ("n", 2))
    graph = onnx.helper.make_graph(nodes, "mean colour", [images], [logits], numbers)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def pools():
    with scale_out.processes(1) as one, scale_out.processes(2) as two:
        yield {1: one, 2: two}


@pytest.fixture
def archive(tmp_path):
    """25 images of two sizes in two folders, two files that are none, and a text."""
    rng = np.random.default_rng(0)
    (tmp_path / "archive" / "below").mkdir(parents=True)
    for number in range(25):
        size = (4, 6, 3) if number % 3 else (5, 5, 3)
        place = tmp_path / "archive" / ("below" if number % 2 else ".") / f"{number:02d}.png"
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(place)
    (tmp_path / "archive" / "cut short.png").write_bytes((tmp_path / "archive" / "00.png").read_bytes()[:50])
    (tmp_path / "archive" / "no image.JPG").write_text("hello")
    (tmp_path / "archive" / "readme.txt").write_text("hello")
    return tmp_path / "archive"


def expected(archive, names, scale=1.0):
    means = [np.asarray(Image.open(archive / name), float).mean((0, 1)) for name in names]
    return np.array(means) @ WEIGHTS * scale


def test_one_worker_and_two_give_the_same_vectors(archive, tmp_path, pools):
    model = write_model(tmp_path / "model.onnx")
    reports = {count: scale_out.embed_folder(archive, model, tmp_path / f"to{count}", pools[count], batch=4) for count in (1, 2)}
    one, two = (scale_out.load_embeddings(tmp_path / f"to{count}") for count in (1, 2))
    assert one.names == two.names and np.array_equal(one.vectors, two.vectors) and one.vectors.dtype == np.float32
    assert len(one.names) == 25 and one.names == tuple(sorted(one.names)) and "below/01.png" in one.names
    np.testing.assert_allclose(one.vectors, expected(archive, one.names), rtol=1e-5)
    assert set(one.failed) == {"cut short.png", "no image.JPG"} == set(reports[2].failed)
    assert all("cannot be read as an image" in why and str(archive) not in why for why in one.failed.values())
    assert len(reports[1].by_worker) == 1 and sum(reports[1].by_worker.values()) == sum(reports[2].by_worker.values()) == 25
    assert str(os.getpid()) not in " ".join(reports[1].by_worker), "the work was done in this process"


def test_a_run_goes_on_where_it_stopped_and_sees_what_changed(archive, tmp_path, pools):
    model, to = write_model(tmp_path / "model.onnx"), tmp_path / "to"
    assert scale_out.embed_folder(archive, model, to, pools[1], batch=10).parts_kept == 0
    parts = sorted(to.glob("*.npz"))
    assert len(parts) == 3 and not list(to.glob(".*"))
    parts[0].unlink()
    (to / "index.json").unlink()
    with pytest.raises(CourseError, match="no finished embeddings: run embed_folder again"):
        scale_out.load_embeddings(to)
    again = scale_out.embed_folder(archive, model, to, pools[1], batch=10)
    assert again.parts_kept == 2 and set(again.failed) == {"cut short.png", "no image.JPG"}
    assert scale_out.embed_folder(archive, model, to, pools[1], batch=10).by_worker == {}
    Image.new("RGB", (7, 7), (10, 20, 30)).save(archive / "00.png")
    assert scale_out.embed_folder(archive, model, to, pools[1], batch=10).parts_kept == 2
    found = scale_out.load_embeddings(to)
    np.testing.assert_allclose(found.vectors, expected(archive, found.names), rtol=1e-5)
    write_model(model, scale=2.0)
    assert scale_out.embed_folder(archive, model, to, pools[1], batch=10).parts_kept == 0
    found = scale_out.load_embeddings(to)
    np.testing.assert_allclose(found.vectors, expected(archive, found.names, 2.0), rtol=1e-5)


def test_a_damaged_part_is_named_and_not_trusted(archive, tmp_path, pools):
    model, to = write_model(tmp_path / "model.onnx"), tmp_path / "to"
    scale_out.embed_folder(archive, model, to, pools[1], batch=10)
    part = to / json.loads((to / "index.json").read_text())["parts"][0]
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 0xFF
    part.write_bytes(content)
    with pytest.raises(CourseError, match=f"{part.name} in .* is missing or damaged: run embed_folder again"):
        scale_out.load_embeddings(to)
    again = scale_out.embed_folder(archive, model, to, pools[1], batch=10)
    assert again.parts_kept == 2 and set(again.failed) == {"cut short.png", "no image.JPG"}
    found = scale_out.load_embeddings(to)
    np.testing.assert_allclose(found.vectors, expected(archive, found.names), rtol=1e-5)


def test_images_are_resized_to_the_size_that_a_model_insists_on(archive, tmp_path, pools):
    model = write_model(tmp_path / "model.onnx", shape=("n", 8, 8, 3))
    scale_out.embed_folder(archive, model, tmp_path / "to", pools[1])
    found = scale_out.load_embeddings(tmp_path / "to")
    resized = [Image.open(archive / name).resize((8, 8), Image.Resampling.BILINEAR) for name in found.names]
    np.testing.assert_allclose(found.vectors, [np.asarray(image, float).mean((0, 1)) @ WEIGHTS for image in resized], rtol=1e-5)


def test_the_classifier_can_be_cut_off(archive, tmp_path, pools):
    encoder = scale_out.cut_classifier(write_model(tmp_path / "model.onnx"), tmp_path / "encoder.onnx")
    scale_out.embed_folder(archive, encoder, tmp_path / "to", pools[1])
    found = scale_out.load_embeddings(tmp_path / "to")
    assert found.vectors.shape == (25, 3)
    np.testing.assert_allclose(found.vectors @ WEIGHTS, expected(archive, found.names), rtol=1e-5)


def test_the_same_call_runs_on_a_cluster(archive, tmp_path):
    distributed = pytest.importorskip("distributed")
    model = write_model(tmp_path / "model.onnx")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None, host="127.0.0.1",
                                  protocol="tcp") as cluster:
        report = scale_out.embed_folder(archive, model, tmp_path / "to", cluster.scheduler_address, batch=4)
    assert sum(report.by_worker.values()) == 25
    found = scale_out.load_embeddings(tmp_path / "to")
    np.testing.assert_allclose(found.vectors, expected(archive, found.names), rtol=1e-5)


def test_a_cluster_that_does_not_answer(archive, tmp_path, monkeypatch):
    monkeypatch.setitem(scale_out.PATIENCE, "scheduler", 1)
    pytest.importorskip("distributed")
    began = time.monotonic()
    with pytest.raises(CourseError, match="no Dask scheduler answers at tcp://127.0.0.1:9 .*start one with `dask scheduler`"):
        scale_out.embed_folder(archive, write_model(tmp_path / "model.onnx"), tmp_path / "to", "tcp://127.0.0.1:9")
    assert time.monotonic() - began < 30


def test_a_cluster_without_workers(archive, tmp_path, monkeypatch):
    monkeypatch.setitem(scale_out.PATIENCE, "workers", 1)
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None, host="127.0.0.1", protocol="tcp") as cluster:
        with pytest.raises(CourseError, match="has no workers: start some with `dask worker tcp://"):
            scale_out.embed_folder(archive, write_model(tmp_path / "model.onnx"), tmp_path / "to", cluster.scheduler_address)


def test_a_worker_that_dies_is_reported_and_finished_parts_stay(archive, tmp_path, monkeypatch):
    model, to = write_model(tmp_path / "model.onnx"), tmp_path / "to"
    with scale_out.processes(1) as pool:
        assert pool.submit(os.getpid).result(timeout=120) != os.getpid()
        scale_out.embed_folder(archive, model, to, pool, batch=10)
        kept = sorted(to.glob("*.npz"))[1:]
        sorted(to.glob("*.npz"))[0].unlink()
        pool.submit(os._exit, 1)
        with pytest.raises(CourseError, match="a worker ended before its work did .*finished parts are kept"):
            scale_out.embed_folder(archive, model, to, pool, batch=10)
    assert all(part.is_file() for part in kept)


@pytest.mark.parametrize("change, error, message", [
    ({"batch": 0}, ValueError, "batch is 0: use 1 or more images"),
    ({"workers": 0}, ValueError, "0 workers were asked for: use 1 or more"),
    ({"folder": "nowhere"}, CourseError, "there is no folder .*nowhere: check the path"),
    ({"folder": "empty"}, CourseError, "holds no images .*point to the folder that holds them"),
    ({"model": "missing.onnx"}, CourseError, "there is no file .*missing.onnx: export the model first"),
    ({"model": "text.onnx"}, CourseError, "text.onnx cannot be loaded as an ONNX model .*export it again"),
    ({"model": "floats.onnx"}, CourseError, r"floats.onnx takes images: tensor\(float\) .*export it with one input, uint8 images"),
])
def test_what_cannot_work_is_refused_with_a_sentence(archive, tmp_path, change, error, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.onnx").write_text("hello")
    write_model(tmp_path / "floats.onnx", kind="float32")
    arguments = {"folder": archive, "model": write_model(tmp_path / "model.onnx"), "workers": 1}
    arguments |= {name: tmp_path / value if isinstance(value, str) else value for name, value in change.items()}
    with pytest.raises(error, match=message):
        scale_out.embed_folder(to=tmp_path / "to", **arguments)


@pytest.mark.parametrize("content, message", [
    (None, "cannot be read as an ONNX model .*export it again"), ("headless", "has no linear layer to cut off")])
def test_what_has_no_classifier_is_refused(tmp_path, content, message):
    path = tmp_path / "model.onnx"
    path.write_text("hello")
    if content:
        whole = onnx.load(scale_out.cut_classifier(write_model(path), path))
        del whole.graph.node[-1]
        onnx.save(whole, path)
    with pytest.raises(CourseError, match=message):
        scale_out.cut_classifier(path, tmp_path / "encoder.onnx")


def test_a_worker_needs_no_deep_learning_framework(tmp_path):
    """Workers on a thousand machines need the ONNX file and its runtime: nothing else may be imported on the way."""
    code = "import sys, helpers.scale_out as s; s._session(sys.argv[1], ''); print({'torch', 'tensorflow'} & set(sys.modules))"
    model = write_model(tmp_path / "model.onnx")
    done = subprocess.run([sys.executable, "-c", code, str(model)], capture_output=True, encoding="utf-8", timeout=120)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr
