"""respool workers, respool scale: list the workers and change their number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from contract.errors import UsageError
from contract.settings import Settings
from orchestrator.cli.common import command, connected, refuse_given
from orchestrator.cli.terminal import echo

_PLATFORMS = ("embedded", "compose", "kubernetes", "slurm")


@command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON; its fields are only ever added to.")
def workers(settings: Settings, as_json: bool) -> None:
    """List the workers: device, model, chunk, speed, memory."""
    import msgspec

    from stores.ledger import Ledger

    with connected(settings) as wired:
        ledger = Ledger(wired)
        infos, beats = ledger.workers(), ledger.heartbeats()
    found = [{"name": name, **info, "heartbeat_s": round(beats.get(name, 0.0), 1)} for name, info in infos.items()]
    if as_json:
        echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    lines = [("WORKER", "DEVICE", "MODEL", "FPS", "MEMORY", "UP", "BEAT", "CHUNK"), *(_line(info) for info in found)]
    widths = [max(len(line[n]) for line in lines) for n in range(7)]
    for line in lines:
        echo("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[7]]))


def _line(info: dict[str, Any]) -> tuple[str, ...]:
    from orchestrator.cli.display import duration

    gpu = info.get("gpu_memory") or {}
    memory = gpu.get("reserved") or info.get("memory") or 0
    up = float(info.get("seen") or 0) - float(info.get("started") or 0)
    return (
        str(info["name"]),
        " ".join(str(info[key]) for key in ("device", "precision") if info.get(key)) or "-",
        str(info.get("model") or "-"),
        f"{info['fps']:.1f}" if info.get("fps") else "-",
        f"{memory / 1e9:.1f} GB" + (f" of {gpu['total'] / 1e9:.0f}" if gpu.get("total") else ""),
        duration(max(0.0, up)),
        f"{info['heartbeat_s']:.0f} s ago",
        f"out of service: {info['problem']}" if info.get("problem") else str(info.get("chunk") or "-"),
    )


@command()
@click.argument("number", metavar="N|auto")
@click.option("--on", "platform", type=click.Choice(_PLATFORMS), help="Kind of cluster (default: embedded).")
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Compose file, or Slurm batch file.",
)
@click.option("--namespace", default="respool", show_default=True, help="Of the release in Kubernetes.")
@click.option("--release", default="respool", show_default=True, help="Helm release in Kubernetes.")
def scale(
    settings: Settings, number: str, platform: str | None, files: tuple[Path, ...], namespace: str, release: str
) -> None:
    """Change the number of workers, also in mid-job.

    Workers that leave hand their chunks back; workers that join take the next ones. `auto` returns the number to the
    autoscaler of a Kubernetes cluster.
    """
    from orchestrator import scaling as scaling

    if number != "auto" and not number.isdecimal():
        raise UsageError(f"{number!r} is not a number of workers; give a number, or `auto` on Kubernetes.")
    count = None if number == "auto" else scaling.check(int(number))
    if platform != "kubernetes":
        refuse_given(("namespace", "release"), "is for --on kubernetes; leave it out.")
    if platform not in ("compose", "slurm"):
        refuse_given(("files",), "is for --on compose and slurm; leave it out.")
    if platform == "slurm" and len(files) > 1:
        raise UsageError(f"--on slurm takes one --file, and {len(files)} are given; leave all but one out.")
    if platform == "kubernetes":
        echo(scaling.Kubernetes(namespace, release).scale(count), err=True)
        return
    if count is None:
        raise UsageError("`auto` is for --on kubernetes; give a number.")
    if platform in ("compose", "slurm") and not files:
        raise UsageError(f"--on {platform} needs --file; deploy/{platform} has one.")
    if platform == "compose":
        echo(scaling.Compose(files).scale(count), err=True)
    elif platform == "slurm":
        echo(scaling.Slurm(files[-1]).scale(count), err=True)
    else:
        _embedded(settings, count, platform)


def _embedded(settings: Settings, count: int, platform: str | None) -> None:
    from orchestrator import local

    if not settings.embedded and platform is None:
        raise UsageError("RESPOOL_* names a real cluster; say which kind it is with --on compose, kubernetes or slurm.")
    local.scale(settings, count)
    echo(f"{count} workers run in {settings.state}.", err=True)
