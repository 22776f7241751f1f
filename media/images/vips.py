"""libvips with its doors shut: only the loaders and savers that Respool chose, no cache, errors as one sentence."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any, BinaryIO

import pyvips

from contract.errors import BadInput
from media.images.sniff import Format

# A hostile file must not reach a parser that was not chosen for it, so every loader is off but these. Raw reads
# the enhanced pixels back from our own scratch file.
pyvips.operation_block_set("VipsForeignLoad", True)
for _name in ("Jpeg", "Png", "Tiff", "Webp", "Heif", "Raw"):
    pyvips.operation_block_set(f"VipsForeignLoad{_name}", False)
# Decoders' warnings come back as errors that name the file; a line that names none helps nobody.
logging.getLogger("pyvips").setLevel(logging.CRITICAL)
# The operation cache would answer for a file that changed under the same name, and hold its memory.
pyvips.cache_set_max(0)

LOADERS: dict[Format, str] = {"jpeg": "jpeg", "png": "png", "tiff": "tiff", "webp": "webp", "avif": "heif"}


_PATH = re.compile(r"^/\S*: ")


def sentence(error: pyvips.Error) -> str:
    """Return what libvips says of an error, in one line without its boilerplate and scratch files' paths, at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("unable to call")]
    return "; ".join(dict.fromkeys(_PATH.sub("", line) for line in said or lines))[:300]


def source(file: Path | BinaryIO | bytes) -> pyvips.Source:
    """Return a libvips source over a path, a seekable binary file, or bytes.

    Pixels may be decoded long after this: bytes must live as long, and a file's callbacks do not, so that only its header
    is to be read.
    """
    if isinstance(file, Path):
        return _named(file)
    if isinstance(file, bytes):
        return pyvips.Source.new_from_memory(file)
    custom = pyvips.SourceCustom()
    custom.on_read(file.read)
    custom.on_seek(lambda offset, whence: file.seek(offset, whence))
    return custom


def _named(file: Path) -> pyvips.Source:
    name = os.fspath(file)
    try:
        name.encode()
    except (
        UnicodeEncodeError
    ):  # pyvips takes names of UTF-8 only; a descriptor has none, and libvips keeps one of its own
        descriptor = os.open(file, os.O_RDONLY)
        try:
            return pyvips.Source.new_from_descriptor(descriptor)
        finally:
            os.close(descriptor)
    return pyvips.Source.new_from_file(name)


def load(file: Path | BinaryIO | bytes, form: Format, name: str, **options: Any) -> pyvips.Image:
    """Open `file` with the one loader of `form`; pixels are not decoded yet. Raises BadInput naming `name`."""
    pyvips.vips_lib.vips_error_clear()
    try:
        return getattr(pyvips.Image, LOADERS[form] + "load_source")(source(file), **options)
    except pyvips.Error as error:
        raise BadInput(
            f"{name} begins like a {form.upper()} image but cannot be read: {sentence(error)}. "
            "Check the file with the program that wrote it."
        ) from error
