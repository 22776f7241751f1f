"""Loading of pickled tensors without running any code in the pickle.

A pickle is a program. Two checks restrict it here: before any opcode runs, all are checked against the list of those that
`torch.save` writes; and the only globals it may name are OrderedDict, the two functions that
rebuild tensors, the storage classes, and what training leaves beside them (NumPy scalars, optimiser states, settings), each replaced
by an inert token. The result describes tensors without reading them: a
tensor is a `View` of a `Storage`, and the caller checks both against the file.
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
# The opcodes that `torch.save` writes (protocol 2), and their variants in protocols 3 and 4.
_OPCODES = re.compile(
    r"PROTO|FRAME|STOP|MARK|POP|POP_MARK|NONE|NEWTRUE|NEWFALSE|(LONG_)?BIN(PUT|GET)|MEMOIZE|BININT[12]?|LONG[14]|BINFLOAT"
    r"|(SHORT_)?BINUNICODE|(SHORT_)?BINBYTES|(EMPTY_)?(LIST|DICT|TUPLE)|TUPLE[123]|APPENDS?|SETITEMS?"
    r"|(STACK_)?GLOBAL|REDUCE|BUILD|BINPERSID|NEWOBJ|EMPTY_SET|ADDITEMS"
)


class _Kind(NamedTuple):
    """A stand-in for a storage class."""

    kind: str


class Storage(NamedTuple):
    """A range of numbers in the file that the pickle names; not read yet."""

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
    """A stand-in for `torch._utils._rebuild_tensor_v2`. It has no `__dict__`, so a pickle cannot change it."""

    __slots__ = ()

    def __call__(self, storage: object, offset: object, shape: object, stride: object, *_rest: object) -> View:
        return View(storage, offset, shape, stride)


class _Unwrap:
    """A stand-in for `torch._utils._rebuild_parameter`."""

    __slots__ = ()

    def __call__(self, data: object, *_rest: object) -> object:
        return data


_GLOBALS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(),
    ("torch._utils", "_rebuild_parameter"): _Unwrap(),
    **{("torch", name): _Kind(kind) for name, kind in _STORAGES.items()},
}


class _Inert:
    """A stand-in for an object beside the tensors (a NumPy scalar, an optimiser's state, a trainer's settings): it does nothing."""

    def __init__(self, *_arguments: object, **_named: object) -> None:
        """Ignore whatever the pickle passes."""

    def __call__(self, *_arguments: object, **_named: object) -> _Inert:
        return self

    def __setstate__(self, _state: object) -> None:
        """Ignore the state."""

    def __setitem__(self, _key: object, _value: object) -> None:
        """Ignore an entry."""

    def append(self, _value: object) -> None:
        """Ignore an element."""

    def extend(self, _values: object) -> None:
        """Ignore elements."""


_INERT = re.compile(
    r"numpy(\.(_?core)(\.multiarray|\.numerictypes)?)? (scalar|dtype|ndarray|_reconstruct|(int|uint|float)\d+|bool_?)"
    r"|_codecs encode"
    r"|argparse Namespace|pathlib (Pure)?(Posix|Windows)?Path|collections (defaultdict|Counter)|datetime (datetime|timedelta)"
    r"|(builtins|__builtin__) (set|frozenset|slice|complex|bytearray|int|float|bool|dict|list|tuple)"
    r"|torch (device|Size|float16|float32|float64|bfloat16|int64|int32|uint8|bool)|torch\.optim\.[a-z_.]+ [A-Za-z]+"
    r"|torch\._utils _rebuild_device_tensor_from_numpy"
    r"|(pytorch_lightning|lightning|lightning_fabric|omegaconf|ml_collections|easydict)(\.[a-z_]+)* [A-Za-z_]+"
)
"""Globals of training checkpoints that weights do not need: each becomes `_Inert`, and none of them is imported or called."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(io.BytesIO(data))
        self._name = name

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _GLOBALS[module, name]
        except KeyError:
            if _INERT.fullmatch(f"{module} {name}"):
                return _Inert
            raise _unsafe(self._name, module, name) from None

    def persistent_load(self, pid: Any) -> Storage:
        match pid:
            case ("storage", _Kind(kind), str(key), _, int(count), *_rest) if 0 <= count <= MAX_BYTES:
                return Storage(kind, key, count)
        raise WeightsError(f"{self._name} refers to {str(pid)[:80]!r}, which is not a storage; do not use this file.")


def _unsafe(file: str, module: str, name: str) -> WeightsError:
    return WeightsError(
        f"{file} is an unsafe pickle: it refers to {module[:80]}.{name[:80]}, which a file of weights does not need; "
        "do not use it, or ask its author for a .safetensors file."
    )


def load(stream: io.BytesIO, name: str) -> Any:
    """Load one pickle from `stream`, and leave `stream` at its end."""
    start = stream.tell()
    for count, (opcode, argument, _at) in enumerate(pickletools.genops(stream), start=1):
        if not _OPCODES.fullmatch(opcode.name) or count > _MAX_OPCODES:
            raise WeightsError(
                f"{name} is an unsafe pickle: its instruction {count} is {opcode.name}, "
                "which no saved checkpoint has; do not use it."
            )
        if opcode.name == "GLOBAL":
            module, _, attribute = str(argument).partition(" ")
            if (module, attribute) not in _GLOBALS and not _INERT.fullmatch(f"{module} {attribute}"):
                raise _unsafe(name, module, attribute)
        if opcode.name == "LONG_BINPUT" and int(argument or 0) > _MAX_OPCODES:
            raise WeightsError(f"{name} is an unsafe pickle: it requests {argument} memory slots; do not use it.")
    stop = stream.tell()
    stream.seek(start)
    value = _Unpickler(stream.read(stop - start), name).load()
    stream.seek(stop)
    return value
