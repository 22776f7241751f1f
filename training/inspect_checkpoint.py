"""What a file of weights is, as JSON: ``python -m training.inspect_checkpoint FILE``.

Reads safetensors, and checkpoints of tensors alone: a pickle that would run code is refused unread. Exit codes: 0, or
2 with one sentence on stderr.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from contract.errors import WeightsError
from workers.generators.community import recognise
from workers.generators.network import State


def read_state(path: Path) -> State:
    """The tensors of a ``.safetensors`` or ``.pth`` file as float32; raise WeightsError when it cannot be read safely."""
    try:
        if path.suffix.lower() == ".safetensors":
            return {k: np.asarray(v, np.float32) for k, v in load_safetensors(path.read_bytes()).items()}
        with path.open("rb") as file:
            if file.read(2) not in (b"PK", b"\x80\x02"):  # a zip archive, or PyTorch's older bare pickle
                raise WeightsError(f"{path} is neither safetensors nor a PyTorch checkpoint; check the file.")
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}.") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is refused: it is a pickle that holds more than tensors and could run code when loaded; "
            "ask its author for safetensors."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path} is not a checkpoint that PyTorch can read: {str(error).splitlines()[0]}."
        ) from error
    # Upstream's training wraps the network in one of these; the average over training steps comes first.
    for key in ("params_ema", "params", "state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        raise WeightsError(f"{path} holds no network's weights: named tensors were expected.")
    return {str(k): v.float().numpy() for k, v in loaded.items()}


def inspect(path: Path) -> dict[str, object]:
    """Architecture (spandrel's name), scale, channels, purpose, number of weights and whether fp16 is safe; raises WeightsError."""
    known = recognise(path.name, read_state(path))
    return {
        "architecture": known.architecture,
        "scale": known.scale,
        "input_channels": known.input_channels,
        "output_channels": known.output_channels,
        "purpose": known.purpose,
        "parameters": known.parameters,
        "half": known.half,
        "tiling": known.tiling,
    }


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m training.inspect_checkpoint FILE", file=sys.stderr)  # noqa: T201 - a command
        return 2
    try:
        print(json.dumps(inspect(Path(arguments[0]))))  # noqa: T201 - a command
    except WeightsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
