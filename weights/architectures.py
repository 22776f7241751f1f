"""Tensor names and shapes of the state dicts of basicsr's networks, which a checkpoint must match to be accepted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from contract.errors import WeightsError
from weights.tensors import Tensor

Architecture = Literal[
    "rrdbnet", "srvgg", "gfpgan", "restoreformer", "centerface", "retinaface", "parsenet", "vgg19", "spandrel", "none"
]
Parameters = Mapping[str, int | float | str | bool]
Shapes = dict[str, tuple[int, ...]]


def state_shapes(architecture: str, parameters: Parameters) -> Shapes | None:
    """Return name and shape of every tensor, in state-dict order; None for architectures other than ``rrdbnet`` and ``srvgg``.

    From basicsr 1.4.2, archs/rrdbnet_arch.py and archs/srvgg_arch.py; `parameters` are those classes' arguments.
    """
    if architecture == "rrdbnet":
        return dict(_rrdbnet({k: int(v) for k, v in parameters.items()}))
    if architecture == "srvgg":
        return dict(_srvgg({k: int(v) for k, v in parameters.items() if k != "act_type"}))
    return None


def _convolution(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outputs, inputs, 3, 3)
    yield f"{name}.bias", (outputs,)


def _rrdbnet(p: Mapping[str, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    features, grow = p["num_feat"], p["num_grow_ch"]
    unshuffled = {1: 16, 2: 4}.get(p["scale"], 1)  # smaller scales take the image pixel-unshuffled
    yield from _convolution("conv_first", p["num_in_ch"] * unshuffled, features)
    for block in range(p["num_block"]):
        for dense in (1, 2, 3):
            for layer in (1, 2, 3, 4, 5):
                inputs = features + (layer - 1) * grow
                outputs = features if layer == 5 else grow
                yield from _convolution(f"body.{block}.rdb{dense}.conv{layer}", inputs, outputs)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        yield from _convolution(name, features, features)
    yield from _convolution("conv_last", features, p["num_out_ch"])


def _srvgg(p: Mapping[str, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    features = p["num_feat"]
    inputs = p["num_in_ch"]
    for layer in range(p["num_conv"] + 1):
        yield from _convolution(f"body.{2 * layer}", inputs, features)
        yield f"body.{2 * layer + 1}.weight", (features,)  # PReLU slopes
        inputs = features
    yield from _convolution(f"body.{2 * p['num_conv'] + 2}", features, p["num_out_ch"] * p["upscale"] ** 2)


def check_state(architecture: str, parameters: Parameters, tensors: Mapping[str, Tensor], what: str) -> None:
    """Raise WeightsError, naming `what`, unless `tensors` are exactly the state dict of the architecture.

    Architectures whose shapes are not listed here pass; their loader is strict.
    """
    shapes = state_shapes(architecture, parameters)
    if shapes is None:
        return
    missing = [name for name in shapes if name not in tensors]
    extra = [name for name in tensors if name not in shapes]
    wrong = [name for name in shapes if name in tensors and tensors[name].shape != shapes[name]]
    for names, problem in ((missing, "lacks"), (extra, "has the unexpected"), (wrong, "has another shape for")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise WeightsError(
                f"{what} is not a {architecture} with {dict(parameters)}: it {problem} {names[0][:80]!r}{more}; choose another file."
            )
