"""The service: in this process through its ASGI interface where possible, in a process of its own for what needs one."""
import asyncio
import contextlib
import http.client
import io
import os
import socket
import time
from collections import Counter

import httpx
import numpy as np
import onnx
import pytest
from PIL import Image

from helpers import inference, serving
from helpers.errors import CourseError

NAMES = ("dark", "light")


def brightness(images):
    """A net that one can check: the logits are minus and plus the mean level, around 127."""
    level = images.reshape(len(images), -1).mean(1).astype(np.float32) - 127
    return np.stack([-level, level], 1)


def picture(level=200, side=64, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (level, level, level)).save(buffer, kind, **options)
    return buffer.getvalue()


def talk(conversation, predict=brightness, limits=None):
    """Run `conversation(client, app)` against an app in this process."""

    async def run():
        app = serving.create_app(predict, NAMES, "v1", limits)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await asyncio.wait_for(conversation(client, app), 20)

    return asyncio.run(run())


def test_an_answer():
    async def conversation(client, app):
        return [await client.post("/predict", content=picture(level, kind=kind)) for level, kind in ((200, "PNG"), (20, "JPEG"))]

    light, dark = talk(conversation)
    assert light.status_code == 200 and light.json()["label"] == "light" and light.json()["version"] == "v1"
    assert light.json()["probability"] == 1 and dark.json()["label"] == "dark" and list(dark.json()["top"]) == ["dark", "light"]


def test_decode_is_upright_square_and_resized():
    wide = np.zeros((64, 192, 3), np.uint8)
    wide[:, 64:128] = 255  # only the middle square is white
    assert (serving.decode(serving.png(wide)) == 255).all()
    patch = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert np.array_equal(serving.decode(serving.png(patch)), patch)  # of the right size nothing changes
    lying = Image.fromarray(np.repeat(np.array([[0], [255]], np.uint8), 64, 0).repeat(128, 1)).convert("RGB")
    buffer, note = io.BytesIO(), Image.Exif()
    note[0x0112] = 3  # upside down
    lying.save(buffer, "PNG", exif=note)
    found = serving.decode(buffer.getvalue())
    assert found[0].mean() > 250 and found[-1].mean() < 5
    for mode in ("L", "RGBA", "P", "1", "LA"):
        buffer = io.BytesIO()
        Image.new(mode, (32, 32)).save(buffer, "PNG")
        assert serving.decode(buffer.getvalue()).shape == (64, 64, 3)


def test_grey_levels_of_16_bits_keep_their_upper_8():
    for level, expected in ((0, 0), (511, 1), (32768, 128), (65535, 255)):
        buffer = io.BytesIO()
        Image.fromarray(np.full((40, 40), level, np.uint16)).save(buffer, "PNG")
        assert (serving.decode(buffer.getvalue()) == expected).all(), level


def scans(count, side=64):
    """A progressive JPEG file whose last scan comes `count` times more, with its head only: some 10 bytes each."""
    whole = picture(side=side, kind="JPEG", progressive=True)
    last, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    return whole[:end] + whole[last : last + 2 + whole[last + 3]] * count + whole[end:]


def test_a_usual_number_of_scans_is_read_and_bytes_that_look_like_scans_do_not_count():
    plain = serving.decode(picture(kind="JPEG", progressive=True))
    assert np.array_equal(serving.decode(scans(80)), plain)
    assert np.array_equal(serving.decode(picture(kind="JPEG", progressive=True) + b"\xff\xda\x12\x34" * 500), plain)


def gif():
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "GIF")
    return buffer.getvalue()


BAD = {
    "empty": (b"", 400), "text": (b"hello", 415), "GIF": (gif(), 415), "half": (picture(side=200)[:90], 422),
    "many pixels": (picture(side=2100), 422), "one pixel": (picture(side=1), 422), "long": (bytes(1_000_001), 413),
    "very long": (bytes(12_000_000), 413), "head only": (b"\x89PNG\r\n\x1a\n", 415), "null bytes": (bytes(100), 415),
    "many scans": (scans(10_000, 1000), 422), "many scans of a small image": (scans(200), 422),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_4xx_with_a_sentence(name):
    body, status = BAD[name]

    async def conversation(client, app):
        return await client.post("/predict", content=body), await client.post("/predict", content=picture())

    bad, good = talk(conversation)
    assert bad.status_code == status and len(bad.json()["detail"]) > 20, bad.text
    assert good.status_code == 200


def test_random_damage_never_makes_a_5xx():
    rng, whole = np.random.default_rng(0), picture(side=80)
    bodies = []
    for _ in range(60):
        broken = bytearray(whole)
        for place in rng.integers(0, len(broken), 4):
            broken[place] = rng.integers(256)
        bodies.append(bytes(broken[: rng.integers(1, len(broken) + 1)]))

    async def conversation(client, app):
        return [(await client.post("/predict", content=body)).status_code for body in bodies]

    assert {status // 100 for status in talk(conversation)} <= {2, 4}


def test_wrong_address_and_method():
    async def conversation(client, app):
        return [(await client.request(*request)).status_code for request in (("GET", "/predict"), ("GET", "/docs"), ("PUT", "/health"))]

    assert talk(conversation) == [405, 404, 405]


def test_everyone_gets_the_own_answer_out_of_a_batch():
    levels = list(range(0, 250, 5))

    async def conversation(client, app):
        answers = await asyncio.gather(*(client.post("/predict", content=picture(level)) for level in levels))
        return [answer.json()["label"] for answer in answers], dict(app.state.batcher.sizes)

    labels, sizes = talk(conversation, limits=serving.Limits(window=50))
    assert labels == ["light" if level > 127 else "dark" for level in levels]
    assert max(sizes) > 1 and max(sizes) <= 16 and sum(size * count for size, count in sizes.items()) == len(levels)


def test_no_window_no_waiting():
    async def conversation(client, app):
        began = time.perf_counter()
        for _ in range(5):
            await client.post("/predict", content=picture())
        return time.perf_counter() - began

    assert talk(conversation, limits=serving.Limits(window=0)) < talk(conversation, limits=serving.Limits(window=200))


def test_too_many_are_told_to_come_back_and_the_others_served():
    def slowly(images):
        time.sleep(0.1)
        return brightness(images)

    async def conversation(client, app):
        return await asyncio.gather(*(client.post("/predict", content=picture()) for _ in range(30)))

    answers = talk(conversation, slowly, serving.Limits(waiting=4, batch=2, window=0))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 503} and statuses.count(200) >= 4
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["Retry-After"] == "1" and "try again" in refused.json()["detail"]


def slow_decoding(monkeypatch, seconds):
    """Decoding that takes long, and a body that is too large to be quick."""
    real = serving.decode
    monkeypatch.setattr(serving, "decode", lambda body, limits: [time.sleep(seconds), real(body, limits)][1])
    return serving.png(np.random.default_rng(0).integers(0, 256, (150, 150, 3)).astype(np.uint8))


def test_health_answers_while_a_large_image_is_unpacked(monkeypatch):
    body = slow_decoding(monkeypatch, 1.0)

    async def conversation(client, app):
        large = asyncio.create_task(client.post("/predict", content=body))
        await asyncio.sleep(0.1)
        began = time.perf_counter()
        answers = [await client.get("/health"), await client.post("/predict", content=picture())]
        assert not large.done() and time.perf_counter() - began < 0.8
        return [answer.status_code for answer in (*answers, await large)]

    assert talk(conversation) == [200, 200, 200]


def test_too_many_large_images_are_told_to_come_back(monkeypatch):
    body = slow_decoding(monkeypatch, 0.2)

    async def conversation(client, app):
        answers = await asyncio.gather(*(client.post("/predict", content=body) for _ in range(12)))
        return Counter(answer.status_code for answer in answers), (await client.post("/predict", content=body)).status_code

    assert talk(conversation, limits=serving.Limits(waiting=3)) == ({200: 5, 503: 7}, 200)
    found, _ = talk(conversation, limits=serving.Limits(answer=0.3))
    assert 2 <= found[200] <= 4 and found[200] + found[503] == 12  # the others waited too long


def test_a_net_that_fails_or_hangs_costs_its_batch_and_not_the_service(capsys):
    def moody(images):
        if images.max() == 13:
            raise RuntimeError("bad luck")
        if images.max() == 14:
            time.sleep(0.5)
        return brightness(images)

    async def conversation(client, app):
        found = []
        for level in (13, 200, 14, 200):
            found.append((await client.post("/predict", content=picture(level))).status_code)
            if level == 14:
                await asyncio.sleep(0.5)
        return found

    assert talk(conversation, moody, serving.Limits(window=0, answer=0.2)) == [500, 200, 503, 200]
    assert "bad luck" in capsys.readouterr().err


def test_metrics_count_and_health_is_ready():
    async def conversation(client, app):
        for body in (picture(), picture(), b"x"):
            await client.post("/predict", content=body)
        return (await client.get("/metrics")).text, await client.get("/health")

    text, health = talk(conversation)
    for line in ('requests_total{status="200"} 2.0', 'requests_total{status="415"} 1.0', 'predictions_total{label="light"} 2.0',
                 "confidence_count 2.0", "request_seconds_count 3.0"):
        assert line in text, text
    assert health.status_code == 200 and health.json()["ready"] is True
    again, _ = talk(conversation)  # a second app counts for itself
    assert 'requests_total{status="200"} 2.0' in again


def test_a_model_that_does_not_fit_its_classes_is_not_served():
    with pytest.raises(CourseError, match="3 numbers for 2 classes"):
        talk(None, lambda images: np.zeros((len(images), 3), np.float32))


@pytest.mark.parametrize("limits", [{"bytes": 0}, {"window": -1}, {"answer": float("nan")}])
def test_limits_must_be_positive(limits):
    with pytest.raises(ValueError, match="use a positive number"):
        serving.Limits(**limits)


# ---- in a process of its own ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """`brightness` as an ONNX file."""
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=real),
        helper.make_node("Flatten", ["float"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "shift"], ["logits"]),
    ]
    mean = np.full((64 * 64 * 3, 1), 1 / (64 * 64 * 3), np.float32)
    arrays = {"weights": np.concatenate([-mean, mean], 1), "shift": np.array([127, -127], np.float32)}
    graph = helper.make_graph(
        nodes, "brightness", [helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["n", 64, 64, 3])],
        [helper.make_tensor_value_info("logits", real, ["n", 2])], [onnx.numpy_helper.from_array(a, name) for name, a in arrays.items()])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(proto, {"classes": '["dark", "light"]'})
    path = tmp_path_factory.mktemp("model") / "brightness.onnx"
    onnx.save(proto, path)
    return path


@pytest.fixture(scope="module")
def service(model):
    with serving.running(model, window=2, upload=0.5) as found:
        yield found


def test_the_process_answers_like_the_model(service, model):
    levels = [10, 240, 100, 180] * 10
    bodies = [picture(level) for level in levels]
    direct = inference.run(inference.session(model), np.stack([np.full((64, 64, 3), level, np.uint8) for level in levels]))
    for clients in (1, 8):
        found = serving.load(service, bodies, clients)
        assert found.statuses == {200: 40} and found.labels == [NAMES[label] for label in direct.argmax(1)]
        assert 0 < found.p50 <= found.p99 and found.clients == clients
    assert serving.ask(service, "/health").body["version"] == service.version


def test_a_sender_that_is_slow_or_breaks_off_is_dropped(service):
    for after, expected in ((b"", b"408"), (None, b"")):
        with socket.create_connection((serving.HOST, service.port), timeout=5) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
            if after is None:
                continue  # breaks off
            assert expected in connection.recv(1000)
    assert serving.ask(service, "/predict", picture()).status == 200


def test_a_connection_without_a_whole_head_is_closed(model):
    with serving.running(model, head=0.5) as service:
        for beginning in (b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea"):
            with socket.create_connection((serving.HOST, service.port), timeout=4) as connection:
                connection.sendall(beginning)
                began = time.perf_counter()
                while connection.recv(1000):  # b"": closed by the service; its own patience after an answer is 5 seconds
                    connection.sendall(b"a")  # any byte stops that
                assert time.perf_counter() - began < 3, beginning
        with contextlib.closing(http.client.HTTPConnection(serving.HOST, service.port, timeout=4)) as connection:
            for _ in range(4):  # who asks again and again stays connected
                connection.request("GET", "/health")
                assert connection.getresponse().read()
                before = connection.sock
                time.sleep(0.3)
            assert connection.sock is before


def test_a_body_without_announced_length_is_limited_too(service):
    with socket.create_connection((serving.HOST, service.port), timeout=5) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            connection.sendall(b"80000\r\n" + bytes(0x80000) + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert b"413" in connection.recv(1000)


def test_answers_do_not_wait_for_company(service):
    """A socket without TCP_NODELAY would hold each answer back for 40 ms."""
    serving.load(service, [picture()] * 10, 1)
    assert min(serving.load(service, [picture()] * 20, 1).milliseconds) < 35


def test_sixteen_clients_wait_less_than_four_times_as_long_as_one(model):
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.5 * (os.cpu_count() or 1):
        pytest.skip("something else keeps this machine busy: latencies would be its own")
    with serving.running(model, window=10) as service:
        serving.load(service, [picture()] * 32, 4)
        ratios = [serving.load(service, [picture()] * 160, 16).p99 / serving.load(service, [picture()] * 40, 1).p50 for _ in range(5)]
    assert np.median(ratios) < 4, ratios


def test_the_process_ends_with_the_block_also_after_an_error(model):
    with pytest.raises(KeyError), serving.running(model) as found:
        process = found.process
        raise KeyError("the test's own")
    assert process.poll() is not None
    assert serving.ask(found, "/health", timeout=1).status == 0


@pytest.mark.parametrize(("content", "message"), [(None, "there is no file"), (b"no model", "cannot be opened as an ONNX file")])
def test_a_service_that_cannot_start_says_why(tmp_path, content, message):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CourseError, match=message), serving.running(path):
        pass


def test_a_taken_port_is_one_sentence(service, model, capsys):
    assert serving.main([str(model), "--port", str(service.port)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_load_needs_clients(service):
    with pytest.raises(ValueError, match="one or more of each"):
        serving.load(service, [], 1)
