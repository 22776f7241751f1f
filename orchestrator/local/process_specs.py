"""Commands and environments of our own processes and Flower in an embedded cluster."""

from __future__ import annotations

import os
from pathlib import Path

from contract.programs import Program, command_line
from contract.settings import Settings
from orchestrator.local.servers import HOST, Member, free_ports
from stores.processor import usable_cores

_NVIDIA = Path("/proc/driver/nvidia/gpus")


def gpus() -> list[str]:
    """List this machine's NVIDIA GPUs by their names in CUDA_VISIBLE_DEVICES, without loading torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() not in ("", "-1")]
    return [str(n) for n in range(len(list(_NVIDIA.iterdir())))] if _NVIDIA.exists() else []


def card_name(visible: str) -> str:
    """Return the model of one of `gpus`, as the driver tells it; "" where it does not, or for a part of a card.

    `visible` is a number in the order of the bus, or the UUID or its first digits.
    """
    for number, path in enumerate(sorted(_NVIDIA.glob("*/information"))):
        lines = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
        told = {name.strip(): value.strip() for name, _, value in lines}
        if visible.strip() == str(number) or told.get("GPU UUID", "").startswith(visible.strip()):
            return told.get("Model", "")
    return ""


def default_workers() -> int:
    """Return one worker per GPU, or one without GPUs: a worker already computes with all cores."""
    return len(gpus()) or 1


def orchestrator(settings: Settings) -> Member:
    """Describe the orchestrator."""
    return Member(
        role="orchestrator",
        name="orchestrator",
        argv=tuple(command_line(Program.COMMAND_LINE, "--debug", "orchestrator")),
        env=settings.environment(),
        stop_s=10.0,
    )


def worker(settings: Settings, n: int, count: int) -> Member:
    """Describe worker `n` of `count`, with its GPU where there are any, and with its share of the cores, where frames are encoded."""
    env = settings.environment()
    if settings.metrics_port:
        env["RESPOOL_METRICS_PORT"] = str(settings.metrics_port + 1 + n)  # the orchestrator has the first
    cards = gpus()
    if cards and settings.device in ("auto", "cuda"):
        env["CUDA_VISIBLE_DEVICES"] = cards[n % len(cards)]
    if settings.threads == 0 and (count > 1 or not cards):
        env["RESPOOL_THREADS"] = str(max(1, usable_cores() // count))
    return Member(
        role="worker",
        name=f"worker-{n}",
        argv=tuple(command_line(Program.WORKER)),
        env=env,
        stop_s=15.0,  # it hands its chunk back first
    )


def flower(settings: Settings, user: str, password: str) -> Member:
    """Describe Flower behind a login. Login and broker are passed by environment: any user can read a command line."""
    (port,) = free_ports(1)
    return Member(
        role="flower",
        name="flower",
        argv=tuple(command_line(Program.COMMAND_LINE, "flower", f"--host={HOST}", f"--port={port}")),
        port=port,
        env={**settings.environment(), "RESPOOL_FLOWER_USER": user, "RESPOOL_FLOWER_PASSWORD": password},
    )
