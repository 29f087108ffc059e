"""Tiny models of random weights with the architectures of `helpers.hub.MODELS`, and a server of files on this machine."""
from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
import threading
import wave
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from helpers.downloads import registry

LINES = [
    "Compute the eigenvalues of a matrix.", "This text is about images and plots.",
    "Draws a histogram of the values on the axes.", "The film is a mess, but its last scene is great.",
    "two thousand three hundred and twenty-one", "dos mil trescientos veintiuno",
]  # fmt: skip


def tokenizer(form: str, tokens: int = 64) -> transformers.PreTrainedTokenizerFast:
    """Byte pairs learned from `LINES`. form: how a text is closed, "<s> $A </s>" for example; "$A" leaves it open."""
    pieces = Tokenizer(models.BPE(unk_token="<unk>"))
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    pieces.train_from_iterator(LINES, trainer)
    pair = form.replace("$A", "$A </s> </s> $B")
    pieces.post_processor = processors.TemplateProcessing(single=form, pair=pair, special_tokens=[("<s>", 0), ("</s>", 2)])
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=pieces, model_max_length=tokens, **names)


def entailment(labels: tuple[str, ...] = ("contradiction", "entailment", "neutral")):
    """(tokenizer, model) of RoBERTa's kind."""
    torch.manual_seed(0)
    # So large that answers differ clearly.
    settings = transformers.RobertaConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=66, type_vocab_size=1, pad_token_id=1, initializer_range=0.5,
        id2label=dict(enumerate(labels)), num_labels=len(labels),
        label2id={label: place for place, label in enumerate(labels)},
    )
    return tokenizer("<s> $A </s>"), transformers.RobertaForSequenceClassification(settings).eval()


def gpt(positions: int = 1024):
    """(tokenizer, model) of GPT-2's kind."""
    torch.manual_seed(0)
    settings = transformers.GPT2Config(
        vocab_size=300, n_positions=positions, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=2,
        initializer_range=0.3,
    )
    return tokenizer("$A", positions), transformers.GPT2LMHeadModel(settings).eval()


def translator():
    """(tokenizer, model) of MarianMT's kind, but with a tokenizer that needs no other package."""
    torch.manual_seed(0)
    settings = transformers.MarianConfig(
        vocab_size=300, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=256, pad_token_id=1, eos_token_id=2,
        decoder_start_token_id=1, init_std=0.1,
    )
    return tokenizer("$A </s>", 256), transformers.MarianMTModel(settings).eval()


def painter(side: int = 8, colours: int = 16):
    """(image processor, model) of Image GPT's kind."""
    torch.manual_seed(0)
    settings = transformers.ImageGPTConfig(
        vocab_size=colours + 1, n_positions=side * side, n_embd=16, n_layer=2, n_head=2, initializer_range=0.3
    )
    clusters = (2 * torch.rand(colours, 3) - 1).tolist()
    processor = transformers.ImageGPTImageProcessorPil(clusters=clusters, size={"height": side, "width": side})
    return processor, transformers.ImageGPTForCausalImageModeling(settings).eval()


def clip():
    """(tokenizer, model) of CLIP's kind, for images of 32 x 32 pixels."""
    torch.manual_seed(0)
    shared = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2)
    settings = transformers.CLIPConfig(
        text_config=dict(vocab_size=300, max_position_embeddings=64, bos_token_id=0, pad_token_id=1, eos_token_id=2, **shared),
        vision_config=dict(image_size=32, patch_size=8, **shared), projection_dim=8,
    )
    return tokenizer("<s> $A </s>"), transformers.CLIPModel(settings).eval()


def speech():
    """(tokenizer, model) of Whisper's kind: 30 seconds of 80 mel bands."""
    torch.manual_seed(0)
    settings = transformers.WhisperConfig(
        vocab_size=300, num_mel_bins=80, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_source_positions=1500, max_target_positions=64,
        pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=0,
    )
    return tokenizer("$A </s>"), transformers.WhisperModel(settings).eval()


def bert():
    """(tokenizer, model) of BERT's kind, with its masked-language head."""
    torch.manual_seed(0)
    words = [*"abcdefghijklmnopqrstuvwxyz0123456789.,'!?-", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789")]
    vocabulary = {piece: place for place, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
    settings = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=512, initializer_range=0.3,
    )
    return transformers.BertTokenizer(vocab=vocabulary), transformers.BertForMaskedLM(settings).eval()


def detector():
    """(image processor, model) of YOLOS' kind."""
    torch.manual_seed(0)
    names = {0: "N/A", 1: "person", 2: "cat", 3: "cup"}
    settings = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=[64, 64], patch_size=16,
        num_detection_tokens=5, num_labels=4, id2label=names, label2id={name: place for place, name in names.items()},
        initializer_range=0.5, use_mid_position_embeddings=False,
    )
    processor = transformers.YolosImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    return processor, transformers.YolosForObjectDetection(settings).eval()


TINY = {
    "entailment": entailment, "gpt": gpt, "translator": translator, "painter": painter, "clip": clip, "speech": speech, "bert": bert,
    "detector": detector,
}  # fmt: skip


def stand_ins() -> dict[str, registry.HubModel]:
    """The registry's models, at the addresses of the tiny ones."""
    changed = {"revision": "main", "sha256": "", "package": "transformers"}
    return {name: entry._replace(repository=f"tiny/{name}", **changed) for name, entry in registry.MODELS.items()}


def recording(seed: int) -> bytes:
    """A WAV file of noise, 3,000 samples at 8,000 a second."""
    buffer, generator = io.BytesIO(), torch.Generator().manual_seed(seed)
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(torch.randint(-3000, 3000, (3000,), generator=generator, dtype=torch.int16).numpy().astype("<i2").tobytes())
    return buffer.getvalue()


def photographs(per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images (n, 32, 32, 3) uint8 of ten classes, each with a colour of its own, and their labels (n,), mixed."""
    rng = np.random.default_rng(seed)
    colours = np.random.default_rng(0).integers(40, 216, (10, 1, 1, 3))
    labels = rng.permutation(np.repeat(np.arange(10), per_class))
    return (colours[labels] + rng.integers(-40, 40, (len(labels), 32, 32, 3))).astype(np.uint8), labels


def cifar10(images: np.ndarray, labels: np.ndarray) -> bytes:
    """An archive in the format of CIFAR-10's publisher: these images as the test part, and as each of the five training parts."""
    rows = np.concatenate([labels[:, None].astype(np.uint8), images.transpose(0, 3, 1, 2).reshape(len(images), -1)], 1)
    content, buffer = rows.tobytes(), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for name in (*(f"data_batch_{part}.bin" for part in range(1, 6)), "test_batch.bin"):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def save(folder: Path) -> dict[str, bytes]:
    """The files of the tiny models as a hub serves them: {"/repository/resolve/main/file": content}."""
    files = {}
    for name, make in TINY.items():
        for part in make():
            part.save_pretrained(folder / name)
        for path in (folder / name).iterdir():
            files[f"/tiny/{name}/resolve/main/{path.name}"] = path.read_bytes()
    return files


COMMIT = "1" * 40  # of every tiny model


class Server(ThreadingHTTPServer):
    """A model hub and a file server: serves `files`.

    faults: {the end of a path: what goes wrong with it}, one of "truncated" (the transfer breaks off in the middle, and again when it is
    continued), "wrong" (other bytes, the right length), "404", "500", "hang" (half of it, then silence), "no hash" (of the listing: other
    hashes than the files have), "login" (a web page instead). `asked` has each request.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], faults: dict[str, str] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.asked = dict(files), dict(faults or {}), []
        self.over, self.half = threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def fault(self, path: str) -> str:
        return next((what for end, what in self.faults.items() if path.endswith(end)), "")

    def listing(self, repository: str, wrong: bool) -> bytes | None:
        """What a hub says about a repository and its files; None when it holds none."""
        at, listed = f"/{repository}/resolve/main/", []
        for path, content in self.files.items():
            if path.startswith(at):
                blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                about = {"rfilename": path[len(at) :], "size": len(content), "blobId": blob}
                if path.endswith((".safetensors", ".bin")):
                    sha256 = hashlib.sha256(content + b"!" * wrong).hexdigest()
                    about["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 130}
                listed.append(about)
        return json.dumps({"id": repository, "sha": COMMIT, "siblings": listed}).encode() if listed else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        start = int(self.headers.get("Range", "bytes=0-")[len("bytes=") :].partition("-")[0])
        self.server.asked.append(f"{path} from {start}" if start else path)
        fault = self.server.fault(path)
        if path.startswith("/api/models/"):
            repository = path.removeprefix("/api/models/").partition("/revision/")[0]
            content = self.server.listing(repository, fault == "no hash")
        else:
            content = self.server.files.get(path.replace(f"/resolve/{COMMIT}/", "/resolve/main/"))
        if fault == "wrong" and content:
            content = bytes(byte ^ 1 for byte in content)
        if fault == "login":
            content = b"<html>log in</html>"
        status = int(fault) if fault.isdecimal() else 404 if content is None else 206 if start else 200
        if status >= 400:
            content = b"no"
        elif start and start >= len(content):
            status = 416
        self.send_response(status)
        self.send_header("Content-Length", str(len(content[start:])))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if fault in ("truncated", "hang"):
            self.wfile.write(content[start : 0 if start else len(content) // 2])
            self.wfile.flush()
            self.server.half.set()
            if fault == "hang":
                self.server.over.wait(60)
            self.close_connection = True
        elif status != 416:
            self.wfile.write(content[start:] if status < 400 else content)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client had enough
            super().handle()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serve(files: dict[str, bytes], faults: dict[str, str] | None = None) -> Iterator[Server]:
    """A running server inside the block."""
    with Server(files, faults) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def publisher(patch: pytest.MonkeyPatch, cache: Path, name: str, files: dict[str, bytes]) -> Iterator[Server]:
    """A running server with these files in the place of the publisher's of an item of the registry, the full profile, an empty cache."""
    patch.setenv("COURSE_PROFILE", "full")
    patch.setenv("COURSE_CACHE", str(cache))
    patch.setenv("NO_PROXY", "127.0.0.1")
    patch.delenv("COURSE_DOWNLOADS", raising=False)
    with serve({f"/{file}": content for file, content in files.items()}) as server:
        listed = [registry.File(file, f"{server.url}/{file}", f"sha256:{hashlib.sha256(files[file]).hexdigest()}") for file in files]
        patch.setitem(registry.FILES, name, registry.FILES[name]._replace(files=tuple(listed)))
        yield server
