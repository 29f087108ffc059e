"""Tiny models of random weights with the architectures of `helpers.hub.MODELS`, and a server of files on this machine."""
from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import wave
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

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


TINY = {"entailment": entailment, "gpt": gpt, "translator": translator, "painter": painter, "clip": clip, "speech": speech}


def recording(seed: int) -> bytes:
    """A WAV file of noise, 3,000 samples at 8,000 a second."""
    buffer, generator = io.BytesIO(), torch.Generator().manual_seed(seed)
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(torch.randint(-3000, 3000, (3000,), generator=generator, dtype=torch.int16).numpy().astype("<i2").tobytes())
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


class Server(ThreadingHTTPServer):
    """Serves `files`. cut: the end of a path whose transfers break off in the middle, until somebody asks for /heal; None for no
    path."""

    def __init__(self, files: dict[str, bytes], cut: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.asked = files | {"/heal": b"healed"}, cut, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_HEAD(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        if path == "/heal":
            self.server.cut = None
        content = self.server.files.get(path)
        start = int(self.headers.get("Range", "bytes=0-")[len("bytes=") :].partition("-")[0])
        self.send_response(404 if content is None else 206 if start else 200)
        self.send_header("Content-Length", str(len(content or b"") - (start if content else 0)))
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        else:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "1" * 40)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET" and content:
            breaks_off = self.server.cut is not None and path.endswith(self.server.cut)
            # Half of it the first time; who comes back for the rest gets nothing.
            self.wfile.write(content[start : 0 if start else len(content) // 2] if breaks_off else content[start:])
            self.close_connection |= breaks_off

    do_GET = do_HEAD

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serve(files: dict[str, bytes], cut: str | None = None) -> Iterator[Server]:
    """A running server inside the block."""
    with Server(files, cut) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
