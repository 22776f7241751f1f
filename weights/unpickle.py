"""Pickles of tensors, loaded without running anything that they bring along.

A pickle is a program. Two fences stand around it here: its opcodes are held against the list of those that
`torch.save` writes before any of them runs, and the only globals it may name are OrderedDict, the two functions that
rebuild tensors, and the storage classes, each replaced by an inert token. What comes out is described, not read: a
tensor is a `View` of a `Storage`, and whoever asked checks both against the file.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections import OrderedDict
from typing import Any, NamedTuple

from contract.errors import WeightsError
from weights.tensors import MAX_BYTES

_MAX_OPCODES = 2_000_000

_STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
# What `torch.save` writes (protocol 2), plus the spellings of protocols 3 and 4.
_OPCODES = re.compile(
    r"PROTO|FRAME|STOP|MARK|POP|POP_MARK|NONE|NEWTRUE|NEWFALSE|(LONG_)?BIN(PUT|GET)|MEMOIZE|BININT[12]?|LONG[14]|BINFLOAT"
    r"|(SHORT_)?BINUNICODE|(SHORT_)?BINBYTES|(EMPTY_)?(LIST|DICT|TUPLE)|TUPLE[123]|APPENDS?|SETITEMS?"
    r"|(STACK_)?GLOBAL|REDUCE|BUILD|BINPERSID"
)


class _Kind(NamedTuple):
    """Stands for a storage class."""

    kind: str


class Storage(NamedTuple):
    """A stretch of numbers in the file, named by the pickle and not read yet."""

    kind: str
    key: str
    length: int


class View(NamedTuple):
    """A tensor as the pickle describes it: a window on a storage, in elements."""

    storage: object
    offset: object
    shape: object
    stride: object


class _Rebuild:
    """Stands for `torch._utils._rebuild_tensor_v2`. Without a dictionary, so a pickle cannot change it."""

    __slots__ = ()

    def __call__(self, storage: object, offset: object, shape: object, stride: object, *_rest: object) -> View:
        return View(storage, offset, shape, stride)


class _Unwrap:
    """Stands for `torch._utils._rebuild_parameter`."""

    __slots__ = ()

    def __call__(self, data: object, *_rest: object) -> object:
        return data


_GLOBALS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(),
    ("torch._utils", "_rebuild_parameter"): _Unwrap(),
    **{("torch", name): _Kind(kind) for name, kind in _STORAGES.items()},
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(io.BytesIO(data))
        self._name = name

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _GLOBALS[module, name]
        except KeyError:
            raise _unsafe(self._name, module, name) from None

    def persistent_load(self, pid: Any) -> Storage:
        match pid:
            case ("storage", _Kind(kind), str(key), _, int(count), *_rest) if 0 <= count <= MAX_BYTES:
                return Storage(kind, key, count)
        raise WeightsError(f"{self._name} refers to {str(pid)[:80]!r}, which is not a storage; do not use this file.")


def _unsafe(file: str, module: str, name: str) -> WeightsError:
    return WeightsError(
        f"{file} is an unsafe pickle: it wants {module[:80]}.{name[:80]}, which a file of weights does not need; "
        "do not use it, or ask its author for a .safetensors file."
    )


def load(stream: io.BytesIO, name: str) -> Any:
    """One pickle from `stream`, which is left behind it."""
    start = stream.tell()
    for count, (opcode, argument, _at) in enumerate(pickletools.genops(stream), start=1):
        if not _OPCODES.fullmatch(opcode.name) or count > _MAX_OPCODES:
            raise WeightsError(
                f"{name} is an unsafe pickle: its instruction {count} is {opcode.name}, "
                "which no saved checkpoint has; do not use it."
            )
        if opcode.name == "GLOBAL":
            module, _, attribute = str(argument).partition(" ")
            if (module, attribute) not in _GLOBALS:
                raise _unsafe(name, module, attribute)
        if opcode.name == "LONG_BINPUT" and int(argument or 0) > _MAX_OPCODES:
            raise WeightsError(f"{name} is an unsafe pickle: it asks for {argument} memory slots; do not use it.")
    stop = stream.tell()
    stream.seek(start)
    value = _Unpickler(stream.read(stop - start), name).load()
    stream.seek(stop)
    return value
