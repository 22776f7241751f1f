"""PyTorch checkpoints, read without PyTorch: the container, the state dict in it, and its tensors.

Both layouts are read: the zip of torch >= 1.6 (data.pkl and one stored member per storage) and the older stream of
five pickles followed by the storages, in which GFPGAN and ParseNet were released (their published sizes are exactly
those of that layout). `unpickle` loads the pickle itself; every size that it claims is checked here.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import WeightsError
from weights.tensors import MAX_BYTES, MAX_TENSORS, Tensor, check_shape, elements, item_size
from weights.unpickle import Storage, View, load

_MAX_PICKLE = 64 << 20
# torch/serialization.py: MAGIC_NUMBER and PROTOCOL_VERSION of the layout before the zip.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# What trainers put before every name: DataParallel, Lightning modules, BasicSR's and others' networks.
_PREFIXES = ("module.", "model.module.", "model.", "net_g.", "netG.", "generator.", "network.", "net.")
# Keys of the state dict in trainers' checkpoints, in spandrel's order; the averaged weights first, as in Real-ESRGAN.
_WRAPPERS = ("params_ema", "params", "params-ema", "model_state_dict", "state_dict", "model", "net")


def read(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a checkpoint, without its wrapper; each tensor is read on demand.

    Raises WeightsError, naming the global, for a pickle that refers to anything but tensors, and for files that are not a
    checkpoint, damaged, big-endian, or that claim more than they contain.
    """
    if path.stat().st_size > MAX_BYTES:
        raise WeightsError(f"{path.name} has {path.stat().st_size} bytes; at most {MAX_BYTES} are accepted.")
    try:
        value, fetch = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    except WeightsError:
        raise
    except Exception as error:  # a hostile pickle can raise any exception
        raise WeightsError(
            f"{path.name} is not a PyTorch checkpoint that can be read ({type(error).__name__}: {str(error)[:120]}); "
            "get it again, or convert it to .safetensors."
        ) from error
    return _tensors(_state(value, path.name), fetch, path.name)


Fetch = Callable[[Storage], bytes]


def _read_zip(path: Path) -> tuple[Any, Fetch]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) > MAX_TENSORS + 100:
            raise WeightsError(f"{path.name} has {len(names)} members; a network has at most {MAX_TENSORS} tensors.")
        pickles = [n for n in names if n == "data.pkl" or n.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise WeightsError(
                f"{path.name} is a zip file with {len(pickles)} files data.pkl, so not a PyTorch checkpoint; choose another file."
            )
        root = pickles[0].removesuffix("data.pkl")
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                raise WeightsError(
                    f"{path.name} compresses {info.filename[:80]!r}, which torch.save never does; do not use it."
                )
        if root + "byteorder" in names and archive.read(root + "byteorder") != b"little":
            raise WeightsError(f"{path.name} was saved on a big-endian machine; convert it to .safetensors there.")
        if archive.getinfo(pickles[0]).file_size > _MAX_PICKLE:
            raise WeightsError(f"{path.name} has a pickle of more than {_MAX_PICKLE} bytes; do not use it.")
        value = load(io.BytesIO(archive.read(pickles[0])), path.name)

    def fetch(storage: Storage) -> bytes:
        with zipfile.ZipFile(path) as archive:
            try:
                return archive.read(f"{root}data/{storage.key}")
            except Exception as error:  # a damaged zip can raise any exception
                raise WeightsError(
                    f"{path.name} is damaged at storage {storage.key[:80]!r} ({error}); get it again."
                ) from error

    return value, fetch


def _read_legacy(path: Path) -> tuple[Any, Fetch]:
    with path.open("rb") as file:
        stream = io.BytesIO(file.read(_MAX_PICKLE))
        if not stream.getvalue().startswith(b"\x80\x02") or load(stream, path.name) != _LEGACY_MAGIC:
            raise WeightsError(f"{path.name} is not a PyTorch checkpoint; choose a file that torch.save has written.")
        protocol, system, value, keys = (load(stream, path.name) for _ in range(4))
        if protocol != _LEGACY_PROTOCOL or not system.get("little_endian"):
            raise WeightsError(f"{path.name} is a checkpoint of protocol {protocol!r}; convert it to .safetensors.")
        # Every storage follows as its element count (int64) and its elements, in the order of `keys`.
        places: dict[str, tuple[int, int]] = {}
        kinds = {s.key: s for s in _storages(value)}
        file.seek(stream.tell())
        for key in keys:
            count = struct.unpack("<q", file.read(8))[0]
            if key not in kinds or count < 0:
                raise WeightsError(f"{path.name} is damaged at storage {str(key)[:80]!r}; get it again.")
            size = count * item_size(kinds[key].kind)
            places[key] = (file.tell(), size)
            file.seek(size, io.SEEK_CUR)
        if file.tell() != path.stat().st_size:
            raise WeightsError(
                f"{path.name} has {path.stat().st_size} bytes, but describes {file.tell()}; get it again."
            )

    def fetch(storage: Storage) -> bytes:
        if storage.key not in places:
            raise WeightsError(f"{path.name} lacks storage {storage.key[:80]!r}; get it again.")
        offset, size = places[storage.key]
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    return value, fetch


def _storages(value: Any) -> list[Storage]:
    """Return every storage that a loaded pickle refers to, at any depth."""
    found: list[Storage] = []
    waiting, seen = [value], set[int]()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Storage):
            found.append(item)
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
    return found


def _state(value: Any, name: str) -> dict[str, View]:
    """Return the state dict under the first known wrapper key, else the dictionary itself; skip values that are not tensors."""
    for key in _WRAPPERS:
        if isinstance(value, dict) and isinstance(value.get(key), dict):
            value = value[key]
            break
    if isinstance(value, dict):
        state = {key: item for key, item in value.items() if isinstance(key, str) and isinstance(item, View)}
        if state:
            return state
    raise WeightsError(
        f"{name} has no state dict; choose a file with tensors by name, alone or under {', '.join(_WRAPPERS)}."
    )


def _tensors(state: Mapping[str, View], fetch: Fetch, file: str) -> dict[str, Tensor]:
    prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in state)), "")
    tensors: dict[str, Tensor] = {}
    for name, view in state.items():
        storage, offset, shape, stride = view
        if (
            not isinstance(storage, Storage)
            or not isinstance(offset, int)
            or not isinstance(shape, tuple)
            or not isinstance(stride, tuple)
            or len(shape) != len(stride)
            or any(type(n) is not int or n < 0 for n in (offset, *stride))
        ):
            raise WeightsError(
                f"{file} describes tensor {name[:80]!r} in a way that torch.save does not; do not use it."
            )
        check_shape(name, shape)
        reach = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True)) + 1
        if 0 not in shape and reach > storage.length:
            raise WeightsError(f"{file} is damaged: tensor {name[:80]!r} reaches past its storage; get it again.")
        tensors[name.removeprefix(prefix)] = Tensor(
            storage.kind, shape, _reader(storage, offset, shape, stride, fetch, f"tensor {name[:80]!r} of {file}")
        )
    return tensors


def _reader(
    storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], fetch: Fetch, what: str
) -> Callable[[], NDArray[Any]]:
    def load() -> NDArray[Any]:
        data = fetch(storage)
        if len(data) != storage.length * item_size(storage.kind):
            raise WeightsError(
                f"{what} has {len(data)} bytes of {storage.length} {storage.kind} numbers; get it again."
            )
        flat = elements(storage.kind, data)
        if 0 in shape:
            return flat[:0].reshape(shape)
        steps = tuple(step * flat.itemsize for step in stride)
        return np.lib.stride_tricks.as_strided(flat[offset:], shape=shape, strides=steps, writeable=False)

    return load
