"""A small prediction service (FastAPI, uvicorn): validated input, batching, limits, a health check, metrics; and the client that loads it.

    python -m helpers.serving model.onnx --port 8000
    curl --data-binary @cat.png http://127.0.0.1:8000/predict

Whoever may open connections without end can still use up this process's descriptors: for others than yourself, put a proxy in front
that bounds the connections of each client and the time for a request's head.
"""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import io
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from helpers import inference
from helpers.errors import CourseError
from helpers.inference import SIDE

if TYPE_CHECKING:
    from PIL.Image import Image

Predict = Callable[[np.ndarray], np.ndarray]
FORMATS = ("PNG", "JPEG")
HOST = "127.0.0.1"  # this machine only; a service for others stands behind a proxy that knows them
SMALLEST = 16  # pixels of a side
DECODERS = 2  # images that are unpacked at once, beside the event loop
# Below both, unpacking takes less time than handing the image to a thread and waiting for it makes everyone else wait.
QUICK_BYTES, QUICK_PIXELS = 32_000, 256 * 256


@dataclass(frozen=True)
class Limits:
    """What the service accepts. Everything that comes from outside has a bound, so that no client can use up memory or time.

    bytes: of a request's body. pixels: of an image, once unpacked. waiting: requests in a queue (one for unpacking, one for the net);
    more are told to come back. batch: images for one run of the net. window: milliseconds that the first request of a batch waits for
    company. head, upload and answer: seconds until a request's head and its body must be here, and that it waits in either queue.
    """

    bytes: int = 1_000_000
    pixels: int = 4_000_000
    waiting: int = 64
    batch: int = 16
    window: float = 5.0
    head: float = 10.0
    upload: float = 5.0
    answer: float = 10.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not np.isfinite(value) or value < (0 if name == "window" else 1e-3):
                raise ValueError(f"the limit {name} is {value}: use a positive number")


class Refused(Exception):
    """A request that cannot be answered. status: the HTTP status, 4xx when the sender must change something. The text says what."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status


def decode(body: bytes, limits: Limits | None = None) -> np.ndarray:
    """The body of a request, a PNG or JPEG file, as a uint8 image (64, 64, 3): turned upright, its middle square, resized.

    Raises Refused: 400 for an empty body, 413 for one that is too large, 415 for what is no PNG or JPEG, 422 for a damaged file or an
    image that is too small or too large, or has too many scans. All of it is known from heads, before anything is unpacked.
    """
    return _square(_open(body, limits or Limits()))


def _open(body: bytes, limits: Limits) -> Image:
    """The image of a body, not yet unpacked. Raises Refused as `decode` does."""
    from PIL import Image

    if not body:
        raise Refused(400, "the body is empty: send the bytes of a PNG or JPEG file")
    if len(body) > limits.bytes:
        raise Refused(413, f"the body has more than {limits.bytes} bytes: send a smaller image")
    try:
        image = Image.open(io.BytesIO(body), formats=FORMATS)
    except Exception:  # whatever a hostile file makes the decoder stumble over
        raise Refused(415, "the body is no PNG or JPEG file: send the bytes of the file as they are") from None
    width, height = image.size
    if width * height > limits.pixels:
        raise Refused(422, f"the image has {width} x {height} pixels, more than {limits.pixels} in all: make it smaller")
    if min(width, height) < SMALLEST:
        raise Refused(422, f"the image has {width} x {height} pixels: send one with {SMALLEST} or more on each side")
    if inference.too_many_scans(body):
        raise Refused(422, f"the image is stored in more than {inference.SCANS} scans: save it again as an ordinary JPEG")
    return image


def _square(image: Image) -> np.ndarray:
    """An opened image as the net takes it. Raises Refused (422) when its file is damaged."""
    from PIL import Image, ImageOps

    try:
        upright = inference.rgb(image)
    except Exception:
        raise Refused(422, "the file begins like an image but cannot be read to its end: send it again") from None
    return np.asarray(ImageOps.fit(upright, (SIDE, SIDE), Image.Resampling.BILINEAR))


class Batcher:
    """Collects single images into batches, runs them in one thread, and gives every caller its own row.

    Start it inside the event loop with `start()`, end it with `stop()`. sizes: how many batches of which size have been run.
    """

    def __init__(self, predict: Predict, limits: Limits):
        self.predict, self.limits = predict, limits
        self.sizes: Counter[int] = Counter()
        self.waiting: asyncio.Queue[tuple[np.ndarray, asyncio.Future]] = asyncio.Queue(limits.waiting)
        self._task: asyncio.Task | None = None

    def start(self) -> None:
        """Begin to work, in the running event loop."""
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """End the work; who still waits is told that the service is going down."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        while not self.waiting.empty():
            _settle(self.waiting.get_nowait()[1], Refused(503, "the service is going down: try again later"))

    async def submit(self, image: np.ndarray) -> np.ndarray:
        """The logits (classes,) of one image (64, 64, 3). Raises Refused (503) when too many wait, or the answer takes too long."""
        future = asyncio.get_running_loop().create_future()
        try:
            self.waiting.put_nowait((image, future))
        except asyncio.QueueFull:
            raise Refused(503, "too many requests are waiting: try again in a second") from None
        try:
            return await asyncio.wait_for(future, self.limits.answer)
        except TimeoutError:
            raise Refused(503, f"no answer within {self.limits.answer:g} seconds: try again later") from None

    async def _collect(self) -> list[tuple[np.ndarray, asyncio.Future]]:
        """The next batch: at least one, and who comes within the window."""
        chosen = [await self.waiting.get()]
        loop = asyncio.get_running_loop()
        closes = loop.time() + self.limits.window / 1e3
        while len(chosen) < self.limits.batch:
            try:
                chosen.append(self.waiting.get_nowait())
            except asyncio.QueueEmpty:
                if (left := closes - loop.time()) <= 0:
                    break
                try:
                    chosen.append(await asyncio.wait_for(self.waiting.get(), left))
                except TimeoutError:
                    break
        return chosen

    async def _work(self) -> None:
        while True:
            batch = [(image, future) for image, future in await self._collect() if not future.done()]  # who left, left
            if not batch:
                continue
            try:
                rows = await asyncio.to_thread(self.predict, np.stack([image for image, _ in batch]))
            except asyncio.CancelledError:
                for _, future in batch:
                    _settle(future, Refused(503, "the service is going down: try again later"))
                raise
            except Exception as error:  # of the net: these callers hear of it, the next ones are served
                print(f"the net failed on a batch of {len(batch)}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                for _, future in batch:
                    _settle(future, Refused(500, "the net failed on this image: this is the service's fault, and it is logged"))
                continue
            self.sizes[len(batch)] += 1
            for (_, future), row in zip(batch, rows, strict=True):
                _settle(future, row)


def _settle(future: asyncio.Future, result: Any) -> None:
    if not future.done():
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


class Metrics:
    """The numbers that an operator watches, in the text format of Prometheus. Each has a registry of its own, so two apps do not mix."""

    def __init__(self, batcher: Batcher):
        import prometheus_client as prometheus

        self.registry = registry = prometheus.CollectorRegistry()
        self.requests = prometheus.Counter("requests", "Answered requests", ["status"], registry=registry)
        self.labels = prometheus.Counter("predictions", "Predictions of each class", ["label"], registry=registry)
        self.confidence = prometheus.Summary("confidence", "Probability of the predicted class", registry=registry)
        steps = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
        self.seconds = prometheus.Histogram("request_seconds", "Time of a prediction", buckets=steps, registry=registry)
        waiting = prometheus.Gauge("waiting", "Requests in the queue", registry=registry)
        waiting.set_function(batcher.waiting.qsize)
        size = prometheus.Gauge("mean_batch", "Images in a batch, on average", registry=registry)
        size.set_function(lambda: sum(batcher.sizes.elements()) / max(1, batcher.sizes.total()))

    def text(self) -> bytes:
        """All of them."""
        import prometheus_client

        return prometheus_client.generate_latest(self.registry)


def create_app(predict: Predict, classes: Sequence[str], version: str, limits: Limits | None = None) -> FastAPI:
    """The service as an ASGI application.

    predict: uint8 (n, 64, 64, 3) -> logits (n, classes); called in one thread at a time. version: names the model in every answer.
    POST /predict: the bytes of a PNG or JPEG file -> {"label", "probability", "top", "version"}. GET /health: 200 once a first
    prediction has been made, 503 before. GET /metrics: for Prometheus. GET /openapi.json: the contract.
    Bad input is answered with a 4xx and {"detail": a sentence}; too many requests with 503 and Retry-After.
    """
    limits, classes = limits or Limits(), tuple(classes)
    batcher = Batcher(predict, limits)
    metrics = Metrics(batcher)
    state = {"ready": False, "began": time.time(), "unpacking": 0}
    decoders = ThreadPoolExecutor(DECODERS, "decode")  # its own: a slow image must not take the net's thread

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # A service that starts with a model it cannot run should fail now, and not at its first visitor.
        logits = await asyncio.to_thread(predict, np.full((1, SIDE, SIDE, 3), 127, np.uint8))
        if logits.shape != (1, len(classes)):
            raise CourseError(f"the model gives {logits.shape[-1]} numbers for {len(classes)} classes: name the classes it was made for")
        batcher.start()
        state["ready"] = True
        yield
        state["ready"] = False
        decoders.shutdown(wait=False, cancel_futures=True)
        await batcher.stop()

    async def unpacked(body: bytes) -> np.ndarray:
        """`decode`; what may take long beside the event loop. Raises Refused, also (503) when too many wait, or one for too long."""
        if len(body) <= QUICK_BYTES and (image := _open(body, limits)).width * image.height <= QUICK_PIXELS:
            return _square(image)
        if state["unpacking"] >= limits.waiting + DECODERS:
            raise Refused(503, "too many requests are waiting: try again in a second")
        state["unpacking"] += 1
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(decoders, decode, body, limits), limits.answer)
        except TimeoutError:
            raise Refused(503, f"the image was not unpacked within {limits.answer:g} seconds: try again later") from None
        finally:
            state["unpacking"] -= 1

    # The pages of /docs load their scripts from another host.
    app = FastAPI(title="photographs", version=version, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.batcher, app.state.metrics = batcher, metrics

    @app.exception_handler(Refused)
    async def refused(_request: Request, error: Refused) -> JSONResponse:
        headers = {"Retry-After": "1"} if error.status == 503 else None
        return JSONResponse({"detail": str(error)}, error.status, headers)

    @app.post("/predict")
    async def answer(request: Request) -> JSONResponse:
        began, status = time.perf_counter(), 500
        try:
            image = await unpacked(await read_body(request, limits))
            probabilities = inference.softmax(await batcher.submit(image))
            status = 200
        except Refused as error:
            status = error.status
            raise
        finally:
            metrics.requests.labels(str(status)).inc()
            metrics.seconds.observe(time.perf_counter() - began)
        top = {classes[place]: round(float(probabilities[place]), 4) for place in np.argsort(-probabilities)[:3]}
        label = next(iter(top))
        metrics.labels.labels(label).inc()
        metrics.confidence.observe(top[label])
        return JSONResponse({"label": label, "probability": top[label], "top": top, "version": version})

    @app.get("/health")
    async def health() -> JSONResponse:
        seconds = round(time.time() - state["began"], 1)
        return JSONResponse({"ready": state["ready"], "version": version, "seconds": seconds}, 200 if state["ready"] else 503)

    @app.get("/metrics")
    async def numbers() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    return app


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body. Raises Refused: 413 as soon as it is too large, whatever its header says, 408 when it does not come in time.

    Of a body that is too large a few megabytes more are read and dropped, so that the sender gets to see the answer.
    """
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.upload):
            async for part in request.stream():
                size += len(part)
                if size > limits.bytes + 8_000_000:
                    break
                if size <= limits.bytes:
                    parts.append(part)
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {limits.upload:g} seconds: send it again") from None
    except ClientDisconnect:
        raise Refused(400, "the connection ended before the body did: send it again") from None
    if size > limits.bytes:
        raise Refused(413, f"the body has more than {limits.bytes} bytes: send a smaller image")
    return b"".join(parts)


# ---- the process of the service ------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Serve an ONNX file of `export.to_onnx` on this machine until interrupted, or, with --with-parent, until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m helpers.serving", description="Serve an ONNX classifier of photographs.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the net (default: %(default)s)")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input does, so that no orphan stays behind")
    for name, value in vars(Limits()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    try:
        return serve(arguments)
    except (CourseError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2


def serve(arguments: argparse.Namespace) -> int:
    """Open the model, listen, print one JSON line with the address once the service is ready, and serve."""
    import hashlib

    import uvicorn

    model = inference.session(arguments.model, arguments.threads)
    classes = inference.class_names(model)
    version = f"{arguments.model.stem}-{hashlib.sha256(arguments.model.read_bytes()).hexdigest()[:8]}"
    limits = Limits(**{name: getattr(arguments, name) for name in vars(Limits())})
    app = create_app(lambda images: inference.run(model, images), classes, version, limits)
    listener = listen(arguments.port)
    settings = uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=5, lifespan="on",
                              timeout_graceful_shutdown=5, http=impatient(limits.head), ws="none")
    server = uvicorn.Server(settings)
    if arguments.with_parent:
        threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    threading.Thread(target=_announce, args=(server, listener.getsockname()[1], version), daemon=True).start()
    server.run(sockets=[listener])
    return 0 if server.started else 2


def impatient(seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's protocol of a connection, which closes one that takes longer than `seconds` to send a request's head."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):
        late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.watch()

        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            if self.late:
                self.late.cancel()

        def watch(self) -> None:
            """Run the clock while no request is at work. uvicorn has one of its own, which any byte stops."""
            if self.cycle and not self.cycle.response_complete:
                if self.late:
                    self.late.cancel()
                self.late = None
            elif not self.late:
                self.late = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    return Impatient


def listen(port: int) -> socket.socket:
    """A socket that listens on this machine; port 0 takes a free one. Raises OSError when the port is taken."""
    # asyncio sends small answers at once (TCP_NODELAY) only where the protocol is named; else each answer waits 40 ms for company.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":  # elsewhere this would let two services share a port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    listener.listen(128)
    return listener


def _end_with_input(server: Any) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True


def _announce(server: Any, port: int, version: str) -> None:
    while not server.started and not server.should_exit:
        time.sleep(0.01)
    if server.started:
        print(json.dumps({"port": port, "version": version}), flush=True)


class Service(NamedTuple):
    """A running service. port: on 127.0.0.1. version: of its model. process: its own process."""

    port: int
    version: str
    process: subprocess.Popen


@contextlib.contextmanager
def running(model: Path, patience: float = 60.0, **limits: float) -> Iterator[Service]:
    """Serve an ONNX file in a process of its own, on a free port of this machine, and end it when the block ends, whatever happens.

    limits: those of `Limits`. Raises CourseError when the service is not ready within `patience` seconds, or ends before.
    """
    command = [sys.executable, "-m", "helpers.serving", str(model), "--port", "0", "--with-parent"]
    for name, value in vars(Limits(**limits)).items():
        command += [f"--{name}", str(value)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    try:
        first: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=lambda: first.put(process.stdout.readline()), daemon=True).start()
        try:
            line = first.get(timeout=patience)
        except queue.Empty:
            raise CourseError(f"the service was not ready within {patience:g} seconds: is the machine very busy?") from None
        if not line:
            said = process.stderr.read().decode(errors="replace").strip().splitlines()
            raise CourseError(f"the service ended at its start: {said[-1] if said else 'it gave no reason'}")
        # Whatever it says later must be read, or it would stop when the pipe is full.
        for stream in (process.stdout, process.stderr):
            threading.Thread(target=lambda stream=stream: stream.read(), daemon=True).start()
        yield Service(**json.loads(line), process=process)
    finally:
        stop(process)


def stop(process: subprocess.Popen, patience: float = 5.0) -> None:
    """End a process: ask by closing its input, then by a signal, then without asking."""
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()
    for end in (lambda: None, process.terminate, process.kill):
        end()
        try:
            process.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue


# ---- the client ------------------------------------------------------------------------------------------------------------------


def png(image: np.ndarray) -> bytes:
    """An image (h, w, 3) uint8 as the bytes of a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


class Answer(NamedTuple):
    """What came back. status: of HTTP, 0 when no answer came. body: its JSON or text."""

    status: int
    body: Any


def ask(service: Service, path: str = "/predict", body: bytes | None = None, method: str | None = None, timeout: float = 10.0) -> Answer:
    """One request; POST when there is a body. A broken connection or no answer in time is status 0, and not an error here."""
    connection = http.client.HTTPConnection(HOST, service.port, timeout=timeout)
    try:
        return _ask(connection, path, body, method)
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, f"{type(error).__name__}: {error}")
    finally:
        connection.close()


def _ask(connection: http.client.HTTPConnection, path: str, body: bytes | None, method: str | None = None) -> Answer:
    connection.request(method or ("GET" if body is None else "POST"), path, body)
    response = connection.getresponse()
    text = response.read()
    is_json = response.headers.get_content_type() == "application/json"
    return Answer(response.status, json.loads(text) if is_json else text.decode(errors="replace"))


class Load(NamedTuple):
    """What a number of clients met. clients: how many at once. milliseconds: of each request. statuses: how often each came.
    labels: what was predicted, in the order of the bodies. seconds: in all."""

    clients: int
    milliseconds: np.ndarray
    statuses: Counter
    labels: list[str | None]
    seconds: float

    @property
    def p50(self) -> float:
        """Milliseconds within which half of the requests were answered."""
        return float(np.percentile(self.milliseconds, 50))

    @property
    def p99(self) -> float:
        """Milliseconds within which 99 of 100 requests were answered."""
        return float(np.percentile(self.milliseconds, 99))


def load(service: Service, bodies: Sequence[bytes], clients: int, timeout: float = 10.0) -> Load:
    """Send all bodies to /predict, by `clients` at once, each of which asks again as soon as it has its answer (a closed loop).

    Every client is a thread with one open connection. Bounded: each request by `timeout` seconds. Raises ValueError without clients.
    """
    if clients < 1 or not len(bodies):
        raise ValueError(f"{clients} clients and {len(bodies)} bodies: use one or more of each")
    places: queue.SimpleQueue[int] = queue.SimpleQueue()
    for place in range(len(bodies)):
        places.put(place)
    times, statuses, labels = np.full(len(bodies), np.nan), [0] * len(bodies), [None] * len(bodies)
    start = threading.Barrier(clients + 1)

    def client() -> None:
        connection = http.client.HTTPConnection(HOST, service.port, timeout=timeout)
        with contextlib.suppress(OSError):
            connection.connect()
        start.wait()
        while True:
            try:
                place = places.get_nowait()
            except queue.Empty:
                break
            began = time.perf_counter()
            try:
                answer = _ask(connection, "/predict", bodies[place])
                statuses[place] = answer.status
                labels[place] = answer.body.get("label") if answer.status == 200 else None
            except (OSError, http.client.HTTPException):
                connection.close()  # the next request opens it again
            times[place] = (time.perf_counter() - began) * 1e3
        connection.close()

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return Load(clients, times, Counter(statuses), labels, time.perf_counter() - began)


if __name__ == "__main__":
    if hasattr(signal, "SIGINT"):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
