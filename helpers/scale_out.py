"""Batch embedding of a large folder of images with an exported model: Dask on processes of this machine, or on a cluster."""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from helpers.errors import CourseError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
INDEX = "index.json"
PATIENCE = {"scheduler": 5, "workers": 10}  # seconds to wait for each


@dataclass(frozen=True)
class Embeddings:
    """What `embed_folder` stored. names: the files, relative to the folder, sorted; vectors: (n, d) float32, row i of names[i];
    failed: why, for each file that could not be read."""

    names: tuple[str, ...]
    vectors: np.ndarray
    failed: dict[str, str]


@dataclass
class Report:
    """What one call of `embed_folder` did: images embedded by each worker process, parts that were there already, files that failed."""

    by_worker: dict[str, int] = field(default_factory=dict)
    parts_kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def cut_classifier(model: Path, to: Path) -> Path:
    """A copy of an ONNX classifier whose output is what comes into its last linear layer: the embedding of the image. Returns `to`.

    Raises CourseError when the file is no ONNX model, or has no linear layer.
    """
    import onnx

    try:
        graph = onnx.load(model)
    except Exception as error:  # protobuf has errors of its own
        raise CourseError(f"{Path(model).name} cannot be read as an ONNX model ({type(error).__name__}): export it again") from None
    linear = [node for node in graph.graph.node if node.op_type in ("Gemm", "MatMul")]
    if not linear:
        raise CourseError(f"{Path(model).name} has no linear layer to cut off: give the name of a classifier's file")
    del graph.graph.output[:]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(linear[-1].input[0], onnx.TensorProto.FLOAT, None))
    onnx.save(graph, to)  # the runtime leaves out what no output needs
    return Path(to)


@contextlib.contextmanager
def processes(count: int) -> Iterator[Executor]:
    """`count` worker processes on this machine that `embed_folder` can use again and again; they end with the block.

    Each is a fresh interpreter that computes with the number of threads in OMP_NUM_THREADS (`config.start` sets it to 1). A script that
    uses them needs `if __name__ == "__main__":`. Raises ValueError when count < 1.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    if count < 1:
        raise ValueError(f"{count} workers were asked for: use 1 or more")
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def embed_folder(folder: Path | str, model: Path | str, to: Path | str, workers: int | str | Executor = 1, batch: int = 64) -> Report:
    """Run an ONNX model over every image below `folder` and store its first output in parts in the folder `to`, one part a batch.

    model: a file whose one input is uint8 images (n, height, width, 3), with the preprocessing inside; where it fixes height and width,
    images are resized to them. workers: a number of processes on this machine, what `processes` gives, or the address of a Dask
    scheduler ("tcp://machine:8786") whose workers see both folders and the model under the same paths. Parts that an earlier run
    finished are kept if their images and the model are still the same, so a run that was stopped goes on where it was. An image that
    cannot be read is reported and left out. Returns a `Report`; `load_embeddings(to)` gives the result.
    Raises CourseError for a folder without images or a model of another kind, ValueError for batch < 1 or workers < 1.
    """
    import dask

    folder, model, to = (Path(path).expanduser().resolve() for path in (folder, model, to))
    if batch < 1:
        raise ValueError(f"batch is {batch}: use 1 or more images")
    names = _images_below(folder)
    digest = _check_model(model)
    to.mkdir(parents=True, exist_ok=True)
    groups = [names[start : start + batch] for start in range(0, len(names), batch)]
    parts = {f"{_key(folder, group, digest)}.npz": group for group in groups}
    missing = {part: group for part, group in parts.items() if _read_part(to / part) is None}
    tasks = [dask.delayed(_embed)(str(folder), group, str(model), digest, str(to / part)) for part, group in missing.items()]
    report = Report(parts_kept=len(parts) - len(missing))
    with _engine(workers) as engine:
        for worker, count in dask.compute(*tasks, **engine):
            report.by_worker[worker] = report.by_worker.get(worker, 0) + count
    report.failed = {name: why for part in parts for name, why in (_read_part(to / part) or ((), (), {}))[2].items()}
    _write_text(to / INDEX, json.dumps({"folder": str(folder), "model": digest, "parts": list(parts)}))
    return report


def load_embeddings(to: Path | str) -> Embeddings:
    """What `embed_folder` stored in `to`. Raises CourseError when it did not finish there, or a part is damaged."""
    to = Path(to).expanduser()
    try:
        index = json.loads((to / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CourseError(f"{to} holds no finished embeddings: run embed_folder again, it goes on where it stopped") from None
    names: list[str] = []
    vectors, failed = [], {}
    for part in index["parts"]:
        content = _read_part(to / part)
        if content is None:
            raise CourseError(f"{part} in {to} is missing or damaged: run embed_folder again, only this part is computed anew")
        names += content[0]
        vectors += [content[1]] if len(content[1]) else []
        failed |= content[2]
    return Embeddings(tuple(names), np.concatenate(vectors) if vectors else np.zeros((0, 0), np.float32), failed)


def _images_below(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise CourseError(f"there is no folder {folder}: check the path")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                   if path.suffix.lower() in ENDINGS and path.is_file())
    if not names:
        raise CourseError(f"the folder {folder} holds no images ({', '.join(ENDINGS)}): point to the folder that holds them")
    return names


def _check_model(model: Path) -> str:
    """The sha256 of a model that takes images."""
    if not model.is_file():
        raise CourseError(f"there is no file {model}: export the model first")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    inputs = _session(str(model), digest)[0].get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(uint8)" or len(inputs[0].shape) != 4 or inputs[0].shape[3] != 3:
        found = ", ".join(f"{each.name}: {each.type} {each.shape}" for each in inputs)
        raise CourseError(f"the model {model.name} takes {found}: export it with one input, uint8 images (n, height, width, 3), "
                          "and the preprocessing inside")
    return digest


def _key(folder: Path, names: Sequence[str], digest: str) -> str:
    """Changes when the model, or the name, size or time of one of the images changes."""
    about = [digest]
    for name in names:
        stat = (folder / name).stat()
        about += [name, str(stat.st_size), str(stat.st_mtime_ns)]
    return hashlib.sha256("\0".join(about).encode()).hexdigest()[:24]


@contextlib.contextmanager
def _engine(workers: int | str | Executor) -> Iterator[dict[str, Any]]:
    """The arguments of `dask.compute`: the same graph runs on processes of this machine or on the workers of a cluster."""
    with contextlib.ExitStack() as stack:
        lost: tuple[type[Exception], ...] = (BrokenExecutor,)
        if isinstance(workers, str):
            from distributed import KilledWorker

            lost += (KilledWorker,)
            engine = {"scheduler": stack.enter_context(_cluster(workers))}
        else:
            pool = workers if isinstance(workers, Executor) else stack.enter_context(processes(workers))
            engine = {"scheduler": "processes", "pool": pool, "chunksize": 1}
        try:
            yield engine
        except lost:
            raise CourseError("a worker ended before its work did (out of memory? a script without `if __name__ == "
                              '"__main__":`?): finished parts are kept, run embed_folder again') from None


def _cluster(address: str) -> Any:
    """A client of a Dask scheduler that has workers. Raises CourseError when there is none within some seconds."""
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE["scheduler"], set_as_default=False)
    except (OSError, ValueError) as error:
        raise CourseError(f"no Dask scheduler answers at {address} ({type(error).__name__}): start one with `dask scheduler`, and "
                          "workers with `dask worker`") from None
    try:
        client.wait_for_workers(1, timeout=PATIENCE["workers"])
    except TimeoutError:
        client.close()
        raise CourseError(f"the scheduler at {address} has no workers: start some with `dask worker {address}`") from None
    return client


@lru_cache(maxsize=1)
def _session(model: str, digest: str) -> tuple[Any, tuple[int, int] | None]:
    """The loaded model, once for each process, and the height and width it insists on. `digest`: another file under the same path."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 1))  # the workers share out the cores, not the threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has errors of its own
        raise CourseError(f"{Path(model).name} cannot be loaded as an ONNX model ({type(error).__name__}): export it again") from None
    size = session.get_inputs()[0].shape[1:3]
    return session, (size[0], size[1]) if all(isinstance(side, int) for side in size) else None


def _embed(folder: str, names: Sequence[str], model: str, digest: str, part: str) -> tuple[str, int]:
    """One task: embed these images and store the part. Returns the worker's name and the number of images."""
    session, size = _session(model, digest)
    images, failed = {}, {}
    for name in names:
        try:
            images[name] = _read(Path(folder, name), size)
        except CourseError as error:
            failed[name] = str(error).replace(folder, "…")  # the folder's path says nothing new
    rows: dict[str, np.ndarray] = {}
    for shape in dict.fromkeys(image.shape for image in images.values()):  # only images of one size make a batch
        alike = [name for name, image in images.items() if image.shape == shape]
        output = session.run(None, {session.get_inputs()[0].name: np.stack([images[name] for name in alike])})[0]
        rows |= dict(zip(alike, np.asarray(output, np.float32).reshape(len(alike), -1), strict=True))
    kept = [name for name in names if name in rows]
    vectors = np.stack([rows[name] for name in kept]) if kept else np.zeros((0, 0), np.float32)
    with _replacing(Path(part)) as stream:
        np.savez(stream, names=np.array(kept, np.str_), vectors=vectors,
                 failed=np.array(list(failed), np.str_), why=np.array(list(failed.values()), np.str_))
    return f"{platform.node()} {os.getpid()}", len(kept)


def _read(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    """(height, width, 3) uint8. Raises CourseError for a file that is no image."""
    from PIL import Image

    from helpers.data.photos import read_photograph

    try:
        image = read_photograph(path)
    except Image.DecompressionBombError:
        raise CourseError(f"{path.name} has too many pixels to be an honest photograph: make it smaller, or leave it out") from None
    if size and image.shape[:2] != size:
        image = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    return image


def _read_part(part: Path) -> tuple[list[str], np.ndarray, dict[str, str]] | None:
    """(names, vectors, failed) of a part; None when it is missing or damaged (the file carries a checksum of each array)."""
    try:
        with np.load(part, allow_pickle=False) as content:
            failed = dict(zip(content["failed"].tolist(), content["why"].tolist(), strict=True))
            return content["names"].tolist(), content["vectors"], failed
    except Exception:  # zipfile, zlib and NumPy each have errors of their own
        return None


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Any]:
    """A binary stream whose content becomes `path` at the end and only then: a half-written file never has that name."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    with _replacing(path) as stream:
        stream.write(text.encode())
