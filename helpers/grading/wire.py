"""Plain data across the trust boundary: what may travel between a learner's process and the tests, and how it keeps its identity.

A call travels with copies of its arguments; the answer brings back the result and what the arguments have become, and the caller's own
objects are brought up to date (call by copy-restore). So a function that changes a network in place, or returns the one it was given,
looks to a test as it does in one process. Only data travels: JSON, bytes of arrays, tensors as safetensors, networks and optimisers as
the name of a known class with its settings. Nothing that arrives is ever executed or unpickled.
"""
from __future__ import annotations

import json
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

MAX_BYTES = 128 * 2**20
MAX_DEPTH = 50
MAX_REPEATED = 5_000_000  # parts of a message that it holds several times, counted each time; of text, `TEXT` characters are a part
TEXT = 20
MAX_BITS = 10_000  # of an integer; Python refuses to write longer ones as text
ARRAY_KINDS = "biufcU"
# Classes of networks and optimisers are looked up here by name, among what is already imported.
KNOWN_MODULES = ("torch.nn.modules.", "torch.optim.", "helpers.backbones.", "efficientnet_lite_pytorch.")
CELL = "cell:"  # a class that a cell of the notebook defines


class WireError(Exception):
    """Something that cannot travel, or that arrived damaged; the message is for the learner."""


class Table:
    """The objects of one call that have an identity, by the number that both ends know them by."""

    def __init__(self) -> None:
        self.objects: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}

    def number(self, thing: Any) -> int:
        """The number of an object, a new one if it has none yet."""
        if id(thing) not in self._numbers:
            self.keep(max(self.objects, default=-1) + 1, thing)
        return self._numbers[id(thing)]

    def keep(self, number: int, thing: Any) -> Any:
        """Know `thing` by `number` from now on; returns it."""
        self.objects[number] = thing
        self._numbers[id(thing)] = number
        return thing


class Encoder:
    """Turns values into JSON-able data and `blobs`; objects in `table` keep their number."""

    def __init__(self, table: Table) -> None:
        self.table, self.blobs, self._sent = table, [], set()

    def encode(self, value: Any, depth: int = 0) -> Any:
        """Data for `value`. Raises WireError for what cannot travel."""
        if depth > MAX_DEPTH:
            raise WireError(f"a value is nested more than {MAX_DEPTH} levels deep")
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise WireError(f"an integer of {value.bit_length() * 3 // 10} digits cannot be handed over")
        if value is None or type(value) in (bool, int, str):
            return value
        if isinstance(value, np.generic):
            return self._scalar(value)
        if isinstance(value, float):
            return {"float": float(value).hex()}
        if isinstance(value, complex):
            return {"complex": [value.real.hex(), value.imag.hex()]}
        if isinstance(value, (int, str)):
            return int(value) if isinstance(value, int) else str(value)
        if isinstance(value, (bytes, bytearray)):
            return {"bytes": self._blob(bytes(value))}
        if isinstance(value, tuple):
            return {"tuple": [self.encode(item, depth + 1) for item in value]}
        return self._object(value, depth)

    def _blob(self, content: bytes) -> int:
        self.blobs.append(content)
        return len(self.blobs) - 1

    def _scalar(self, value: np.generic) -> Any:
        if value.dtype.kind == "U":
            return str(value)
        if value.dtype.kind not in ARRAY_KINDS:
            raise WireError(f"a NumPy value of type {value.dtype} cannot be handed over: use numbers or text")
        return {"scalar": value.dtype.str, "blob": self._blob(value.tobytes())}

    def _object(self, value: Any, depth: int) -> Any:
        """Data for an object with an identity: its content the first time in a message, later only its number."""
        if hasattr(value, "__next__") or type(value).__name__ in ("dict_keys", "dict_values", "dict_items", "range"):
            value = list(value)  # a generator or a view: what matters is what it holds
        number = self.table.number(value)
        if number in self._sent:
            return {"ref": number}
        self._sent.add(number)
        return {"ref": number} | self._content(value, depth)

    def _content(self, value: Any, depth: int) -> dict[str, Any]:
        if isinstance(value, list):
            return {"list": [self.encode(item, depth + 1) for item in value]}
        if isinstance(value, dict):
            return {"dict": [[self.encode(part, depth + 1) for part in pair] for pair in value.items()]}
        if isinstance(value, (set, frozenset)):
            return {"set": [self.encode(item, depth + 1) for item in value]}
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in ARRAY_KINDS:
                raise WireError(f"an array of type {value.dtype} cannot be handed over: use numbers or text")
            flat = np.ascontiguousarray(value)
            return {"array": flat.dtype.str, "shape": list(value.shape), "blob": self._blob(flat.tobytes())}
        if "torch" in sys.modules and (content := self._torch(value, depth)) is not None:
            return content
        raise WireError(f"an object of class {type(value).__name__} cannot be handed over to the tests: "
                        "use numbers, text, lists, dictionaries, arrays, tensors, or networks built from torch.nn's layers")

    def _torch(self, value: Any, depth: int) -> dict[str, Any] | None:
        import torch
        from torch import nn

        if isinstance(value, (torch.dtype, torch.device)):
            return {"torch": str(value).removeprefix("torch."), "device": isinstance(value, torch.device)}
        if isinstance(value, torch.Tensor):
            from safetensors.torch import save

            try:
                content = save({"tensor": value.detach().cpu().contiguous()})
            except Exception as error:  # sparse, quantised, on no device …
                raise WireError(f"this tensor cannot be handed over ({error}): return an ordinary one") from None
            about = {"tensor": self._blob(content), "requires_grad": value.requires_grad, "parameter": isinstance(value, nn.Parameter)}
            about["strides"] = list(value.stride())  # in another order in memory, convolutions round differently
            grad = value.grad if value.is_leaf else None
            return about | ({} if grad is None else {"grad": self.encode(grad, depth + 1)})
        if isinstance(value, nn.Module):
            base = set(vars(nn.Module()))
            inner = {name: getattr(value, name) for name in ("_parameters", "_buffers", "_modules")}
            return {
                "module": class_name(value), "training": bool(value.training),
                "settings": {key: self.encode(item, depth + 1) for key, item in vars(value).items() if key not in base},
                "not_saved": sorted(value._non_persistent_buffers_set),
            } | {part: {key: self.encode(item, depth + 1) for key, item in found.items()} for part, found in inner.items()}
        if isinstance(value, torch.optim.Optimizer):
            groups = [{key: self.encode(item, depth + 1) for key, item in group.items()} for group in value.param_groups]
            return {"optimizer": class_name(value), "groups": groups}
        return None


def class_name(thing: Any) -> str:
    """The name by which the other end can find the class of `thing`."""
    kind = type(thing)
    return f"{CELL}{kind.__qualname__}" if kind.__module__ in ("__main__", "builtins") else f"{kind.__module__}.{kind.__qualname__}"


def find_class(name: Any, base: type, cells: Mapping[str, Any]) -> type:
    """The class called `name`: one of a known library, or one that a trusted cell defines (`cells`: its names).

    Raises WireError for any other.
    """
    found = None
    if isinstance(name, str) and name.startswith(CELL):
        found = cells.get(name.removeprefix(CELL))
    elif isinstance(name, str) and name.startswith(KNOWN_MODULES):
        module, _, attribute = name.rpartition(".")
        found = getattr(sys.modules.get(module), attribute, None)  # nothing is imported on request
    if not (isinstance(found, type) and issubclass(found, base)):
        shown = str(name).removeprefix(CELL)[:100]
        raise WireError(f"an object of class {shown} cannot be handed over to the tests: build it from torch.nn's own layers, "
                        "for example with nn.Sequential")
    return found


class Decoder:
    """Turns what an Encoder made into values again; objects that `table` knows are changed in place. One for each message.

    A list that holds another twice, which holds another twice, and so on, is short on the wire and endless where it is printed or
    compared. So what a message repeats is counted as if it were written out.
    """

    def __init__(self, table: Table, blobs: list[bytes], cells: Mapping[str, Any]) -> None:
        self.table, self.blobs, self.cells = table, list(blobs), cells
        self.parts, self.repeated = 0, 0
        self.sizes: dict[int, int] = {}  # of the objects in this message: how many parts each has

    def decode(self, data: Any, depth: int = 0) -> Any:
        """The value. Raises WireError when the data is damaged or names something unknown."""
        try:
            return self._decode(data, depth)
        except WireError:
            raise
        except Exception as error:  # whatever a forged message provokes
            raise WireError(f"the answer cannot be read ({type(error).__name__}: {str(error)[:100]})") from None

    def _decode(self, data: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise WireError(f"a value is nested more than {MAX_DEPTH} levels deep")
        self.parts += 1
        if data is None or type(data) in (bool, int, str):
            self.parts += len(data) // TEXT if isinstance(data, str) else 0 if data is None else data.bit_length() // 64
            return data
        if not isinstance(data, dict):
            raise WireError("the answer cannot be read")
        if "float" in data:
            return float.fromhex(data["float"])
        if "complex" in data:
            return complex(*(float.fromhex(part) for part in data["complex"]))
        if "scalar" in data:
            content = self._blob(data["blob"])
            self.parts += len(content) // TEXT
            return np.frombuffer(content, dtype_of(data["scalar"]))[0]
        if "bytes" in data:
            content = self._blob(data["bytes"])
            self.parts += len(content) // TEXT
            return content
        if "tuple" in data:
            return tuple(self._decode(item, depth + 1) for item in data["tuple"])
        return self._object(data, depth)

    def _blob(self, index: int) -> bytes:
        """A binary part. Each is used once: a forged message could make thousands of arrays of one."""
        content, self.blobs[index] = self.blobs[index], None
        if content is None:
            raise WireError("the answer cannot be read")
        return content

    def _object(self, data: dict, depth: int) -> Any:
        number = data["ref"]
        if type(number) is not int:
            raise WireError("the answer cannot be read")
        known = self.table.objects.get(number)
        if len(data) == 1:
            if number not in self.table.objects:
                raise WireError("the answer refers to something unknown")
            size = self.sizes.setdefault(number, 1)
            self.parts, self.repeated = self.parts + size, self.repeated + size
            if self.repeated > MAX_REPEATED:
                raise WireError(f"a value holds the same objects again and again, written out more than {MAX_REPEATED:,} parts: "
                                "make it smaller")
            return known
        if number in self.sizes:
            raise WireError("the answer cannot be read")
        before, self.sizes[number] = self.parts, MAX_REPEATED // 4  # while it is read: what holds itself has no end
        found = self._content(data, number, known, depth)
        self.sizes[number] = 1 + self.parts - before
        return found

    def _content(self, data: dict, number: int, known: Any, depth: int) -> Any:
        for kind in ("list", "dict", "set", "array", "torch", "tensor", "module", "optimizer"):
            if kind in data:
                if known is not None and not is_kind(known, kind):
                    raise WireError("an argument of your function came back as something else")
                return getattr(self, f"_{kind}")(data, number, known, depth + 1)
        raise WireError("the answer cannot be read")

    def _list(self, data: dict, number: int, known: Any, depth: int) -> list:
        found = self.table.keep(number, []) if known is None else known
        found[:] = [self._decode(item, depth) for item in data["list"]]
        return found

    def _dict(self, data: dict, number: int, known: Any, depth: int) -> dict:
        found = self.table.keep(number, {}) if known is None else known
        content = {self._decode(key, depth): self._decode(item, depth) for key, item in data["dict"]}
        found.clear()
        found.update(content)
        return found

    def _set(self, data: dict, number: int, known: Any, depth: int) -> set:
        content = {self._decode(item, depth) for item in data["set"]}
        if known is None:
            return self.table.keep(number, content)
        if isinstance(known, set):
            known.clear()
            known.update(content)
        return known

    def _array(self, data: dict, number: int, known: Any, depth: int) -> np.ndarray:
        found = np.frombuffer(self._blob(data["blob"]), dtype_of(data["array"])).reshape(data["shape"]).copy()
        # NumPy and torch print at most a thousand numbers, but every letter of a text.
        self.parts += (found.nbytes if found.dtype.kind == "U" else min(found.size, 1000)) // TEXT
        if known is None:
            return self.table.keep(number, found)
        if known.shape != found.shape or known.dtype != found.dtype:
            raise WireError("the shape or type of an array that your function was given has changed")
        if found.tobytes() != np.ascontiguousarray(known).tobytes():
            known[...] = found
        return known

    def _torch(self, data: dict, number: int, known: Any, depth: int) -> Any:
        import torch

        if data["device"]:
            return self.table.keep(number, torch.device("cpu"))
        found = getattr(torch, data["torch"])
        if not isinstance(found, torch.dtype):
            raise WireError("the answer cannot be read")
        return self.table.keep(number, found)

    def _tensor(self, data: dict, number: int, known: Any, depth: int) -> Any:
        import torch
        from safetensors.torch import load

        found = load(self._blob(data["tensor"]))["tensor"]
        self.parts += min(found.numel(), 1000) // TEXT
        strides = [int(stride) for stride in data["strides"]]
        reach = sum((size - 1) * stride for size, stride in zip(found.shape, strides, strict=True))
        if list(found.stride()) != strides and min(strides) >= 0 and reach < found.numel():
            found = torch.empty_strided(found.shape, strides, dtype=found.dtype).copy_(found)
        if known is None:
            known = torch.nn.Parameter(found, requires_grad=False) if data["parameter"] else found
            self.table.keep(number, known)
        elif not (known.shape == found.shape and known.dtype == found.dtype and torch.equal(known.detach(), found)):
            known.data = found
        if known.is_leaf and bool(data["requires_grad"]) != known.requires_grad:
            known.requires_grad_(bool(data["requires_grad"]))
        if known.is_leaf:
            known.grad = self._decode(data["grad"], depth) if "grad" in data else None
        return known

    def _module(self, data: dict, number: int, known: Any, depth: int) -> Any:
        from torch import nn

        kind = find_class(data["module"], nn.Module, self.cells)
        if known is None:
            known = kind.__new__(kind)
            nn.Module.__init__(known)
            self.table.keep(number, known)
        elif type(known) is not kind:
            raise WireError("the class of a network that your function was given has changed")
        base = set(vars(nn.Module()))
        for key, item in data["settings"].items():
            # A setting is data; a name that the class defines as a method would change what the network does.
            if key in base or key.startswith("__") or callable(getattr(kind, key, None)):
                raise WireError(f"a network with its own {key!r} cannot be handed over: build it from torch.nn's layers")
            object.__setattr__(known, key, self._decode(item, depth))
        known.training = bool(data["training"])
        known._non_persistent_buffers_set = set(map(str, data["not_saved"]))
        for part, wanted in (("_parameters", nn.Parameter), ("_buffers", None), ("_modules", nn.Module)):
            content = {str(key): self._decode(item, depth) for key, item in data[part].items()}
            if any(item is not None and not (is_tensor(item) if wanted is None else isinstance(item, wanted)) for item in content.values()):
                raise WireError("a network holds something that is not a layer or a tensor")
            getattr(known, part).clear()
            getattr(known, part).update(content)
        return known

    def _optimizer(self, data: dict, number: int, known: Any, depth: int) -> Any:
        import torch

        kind = find_class(data["optimizer"], torch.optim.Optimizer, self.cells)
        groups = [{key: self._decode(item, depth) for key, item in group.items()} for group in data["groups"]]
        if known is None:
            return self.table.keep(number, kind(groups))
        known.param_groups[:] = groups
        return known


def is_kind(thing: Any, kind: str) -> bool:
    """True when `thing` is what the wire calls a `kind`."""
    plain = {"list": list, "dict": dict, "set": (set, frozenset), "array": np.ndarray}
    if kind in plain:
        return isinstance(thing, plain[kind])
    import torch

    kinds = {"torch": (torch.dtype, torch.device), "tensor": torch.Tensor, "module": torch.nn.Module, "optimizer": torch.optim.Optimizer}
    return isinstance(thing, kinds[kind])


def is_tensor(thing: Any) -> bool:
    """True for a torch tensor."""
    import torch

    return isinstance(thing, torch.Tensor)


def dtype_of(text: str) -> np.dtype:
    """A dtype of plain numbers or text. Raises WireError for any other (an object dtype would hold pointers)."""
    found = np.dtype(str(text))
    if found.kind not in ARRAY_KINDS or found.itemsize == 0:
        raise WireError(f"arrays of type {text} cannot be handed over")
    return found


class Channel:
    """Messages over a socket: a JSON header and binary parts, each message bounded in size and time."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def send(self, header: Any, blobs: list[bytes] | None = None) -> None:
        """Send one message. Raises WireError when it is too big, OSError when the other end is gone."""
        blobs = blobs or []
        text = json.dumps([header, [len(blob) for blob in blobs]], allow_nan=False).encode()
        size = len(text) + sum(map(len, blobs))
        if size > MAX_BYTES:
            raise WireError(f"{size / 1e6:.0f} MB are too much to hand over: {MAX_BYTES / 1e6:.0f} MB is the limit")
        self.sock.settimeout(None)
        self.sock.sendall(struct.pack("<QQ", size, len(text)) + text + b"".join(blobs))

    def receive(self, seconds: float | None = None) -> tuple[Any, list[bytes]]:
        """The next message. Raises EOFError when the other end is gone, TimeoutError, WireError when it is damaged or too big."""
        deadline = None if seconds is None else time.monotonic() + seconds
        size, head = struct.unpack("<QQ", self._read(16, deadline))
        if size > MAX_BYTES or head > size:
            raise WireError("the answer is too big, or damaged")
        content = self._read(size, deadline)
        try:
            header, lengths = json.loads(content[:head])
            blobs = list(split(content[head:], lengths))
        except (ValueError, TypeError, RecursionError):
            raise WireError("the answer cannot be read") from None
        return header, blobs

    def _read(self, count: int, deadline: float | None) -> bytes:
        parts, missing = [], count
        while missing:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self.sock.settimeout(left)
            try:
                part = self.sock.recv(min(missing, 2**20))
            except ConnectionError:
                part = b""
            if not part:
                raise EOFError("the other end is gone")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def split(content: bytes, lengths: list[int]) -> Iterator[bytes]:
    """Cut `content` into parts of the given lengths. Raises ValueError when they do not fit."""
    if any(type(length) is not int or length < 0 for length in lengths) or sum(lengths) != len(content):
        raise ValueError("lengths do not fit")
    start = 0
    for length in lengths:
        yield content[start : start + length]
        start += length
