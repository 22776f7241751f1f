"""Description of a file of weights as JSON: ``python -m training.inspect_checkpoint FILE``.

It reads safetensors, and checkpoints that contain only tensors: a pickle that would run code is refused without running it. The
exit code is 0, or 2 with one sentence on stderr.
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
from workers.generators.community import Recognised, recognise
from workers.generators.network import State


def read_state(path: Path) -> State:
    """Read the tensors of a ``.safetensors`` or ``.pth`` file as float32; raise WeightsError if it cannot be read safely."""
    try:
        if path.suffix.lower() == ".safetensors":
            return {k: np.asarray(v, np.float32) for k, v in load_safetensors(path.read_bytes()).items()}
        with path.open("rb") as file:
            if file.read(2) not in (b"PK", b"\x80\x02"):  # a zip archive, or PyTorch's older bare pickle
                raise WeightsError(f"{path} is neither safetensors nor a PyTorch checkpoint; check the file.")
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}; check its path.") from error
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}; get it again.") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is refused: it is a pickle that contains more than tensors and could run code when loaded; "
            "ask its author for safetensors."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path} is not a checkpoint that PyTorch can read: {str(error).splitlines()[0]}; get it again."
        ) from error
    # Upstream's training stores the network under one of these keys; the average over training steps comes first.
    for key in ("params_ema", "params", "state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        raise WeightsError(f"{path} has no network's weights; choose a file of named tensors.")
    return {str(k): v.float().numpy() for k, v in loaded.items()}


def inspect(path: Path) -> dict[str, object]:
    """Describe the network in `path`: architecture (spandrel's name), scale, channels, purpose, number of weights, fp16 support.

    Raises WeightsError when the file cannot be read safely or spandrel does not recognise the network.
    """
    known = recognise(path.name, read_state(path))
    try_out(path.name, known)
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


_SIDE = 64


def try_out(name: str, known: Recognised) -> None:
    """Run one forward pass on a small picture; raise WeightsError for a network that fails, gives no numbers, or lies about its scale."""
    side = -(-_SIDE // known.multiple) * known.multiple
    y, x = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    picture = torch.stack([x, y, (x + y) / 2])[None, : known.input_channels]
    try:
        with torch.inference_mode():
            made = known.descriptor.model.eval()(picture.float())
    except Exception as error:  # a network of a stranger can fail in any way
        reason = (str(error).splitlines() or [""])[0][:200]
        raise WeightsError(
            f"{name} fails on a picture of {side} x {side} ({type(error).__name__}: {reason}); ask its author for an intact file."
        ) from error
    made = made[0] if isinstance(made, tuple | list) and made else made
    wanted = (1, known.output_channels, side * known.scale, side * known.scale)
    if not isinstance(made, torch.Tensor) or tuple(made.shape) != wanted:
        shape = tuple(made.shape) if isinstance(made, torch.Tensor) else type(made).__name__
        raise WeightsError(
            f"{name} says that it enlarges {known.scale} times, but makes {shape} of {tuple(picture.shape)}; ask its author for an intact file."
        )
    if not bool(torch.isfinite(made).all()):
        raise WeightsError(f"{name} gives values that are no numbers; ask its author for an intact file.")


def main(arguments: list[str]) -> int:
    """Print the description of the file named by `arguments`; return the exit code."""
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
