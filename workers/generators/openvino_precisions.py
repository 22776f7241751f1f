"""The precisions of OpenVINO on this processor, kept on disk: to ask OpenVINO means to load it, which takes a tenth of a second."""

from __future__ import annotations

import contextlib
import hashlib
from importlib.metadata import version
from pathlib import Path

import msgspec

from stores.atomic_files import write_atomically

_PROCESSOR = Path("/proc/cpuinfo")


def kept_precisions(cache: Path) -> tuple[str, ...]:
    """Return the precisions that OpenVINO computes in natively here, fastest first, as kept below `cache` or as it says now."""
    processor = _processor()
    key = hashlib.sha256(f"{version('openvino')}|{processor}".encode()).hexdigest()[:24]
    path = cache / "probes" / f"openvino-{key}.json"
    if processor:
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(path.read_bytes(), type=tuple[str, ...])
    from workers.generators.openvino_backend import precisions

    found = precisions()
    if processor and found:
        with contextlib.suppress(OSError):  # without a cache it is asked again
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, msgspec.json.encode(found))
    return found


def _processor() -> str:
    """Return the first processor's name and what it and the system above it can do; "" where Linux does not say."""
    with contextlib.suppress(OSError):
        lines = _PROCESSOR.read_text().partition("\n\n")[0].splitlines()
        return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features")))
    return ""
