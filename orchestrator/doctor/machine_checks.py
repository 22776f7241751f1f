"""Checks of this machine and of the cluster that the settings name, each with what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from contract.errors import RespoolError
from contract.settings import Settings
from media import nvenc
from media.encoder_trial import small, try_encoder
from orchestrator.balance.film_balance import USUAL, film_balance, usual_work
from orchestrator.balance.network_time import device_here
from orchestrator.doctor.cluster_checks import Finding, examine_cluster
from orchestrator.local import attach
from orchestrator.local.process_specs import gpus
from orchestrator.local.servers import redis_program, weed_program
from orchestrator.sandbox.parent import Confined
from stores.processes import death_signal
from stores.processor import usable_cores
from weights.models import verify_models

_LOW_DISK = 5 << 30
_TORCH_S = 60


def examine(settings: Settings) -> list[Finding]:
    """Run all checks; they change nothing but test objects, which they remove again."""
    findings = [_python(), *_packages(), *_gpu(), _nvenc(), _balance(settings), *_disks(settings)]
    findings += [*_weights(settings), _confinement(settings)]
    if not settings.embedded:
        return findings + examine_cluster(settings)
    findings += _programs()
    try:
        living = attach(settings)
    except RespoolError as error:
        return [*findings, Finding("cluster", "bad", str(error))]
    if living is None:
        return [*findings, Finding("cluster", "ok", f"none runs in {settings.state}; `respool up` starts one")]
    with living:
        roles = [process.role for process in living.processes]
        findings.append(Finding("cluster", "ok", f"{', '.join(roles)} run in {settings.state}"))
        findings += [Finding("cluster", "bad", problem) for problem in living.life.problems]
        return findings + examine_cluster(living.settings)


def _python() -> Finding:
    found = platform.python_version()
    if (3, 11) <= sys.version_info < (3, 13):
        return Finding("python", "ok", found)
    return Finding("python", "bad", f"{found}; basicsr and gfpgan build with 3.11 and 3.12 only")


def _packages() -> Iterator[Finding]:
    yield Finding("respool", "ok", _version("respool"))
    if find_spec("torch") is None:
        yield Finding("torch", "warn", "absent, so no worker can run here; pip install 'respool[worker]'")
    else:
        yield Finding("torch", "ok", _version("torch"))
    for package in ("celery", "redis", "boto3", "av", "pyvips"):
        yield Finding(package, "ok", _version(package))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "version unknown"


def _programs() -> Iterator[Finding]:
    for what, find in (("redis-server", redis_program), ("seaweedfs", weed_program)):
        try:
            yield Finding(what, "ok", find())
        except RespoolError as error:
            yield Finding(what, "bad", str(error))


def _gpu() -> Iterator[Finding]:
    cards = gpus()
    if not cards:
        yield Finding("gpu", "warn", f"no NVIDIA GPU found; workers compute on {usable_cores()} cores, or on MPS")
        return
    query = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    shown = subprocess.run(query, capture_output=True, text=True, check=False) if shutil.which(query[0]) else None
    lines = shown.stdout.strip().splitlines() if shown and shown.returncode == 0 else []
    yield Finding("gpu", "ok", "; ".join(lines) or f"{len(cards)} NVIDIA GPUs")
    if find_spec("torch") is not None:
        yield _cuda()


def _nvenc() -> Finding:
    """Check which encoders of cards can be used here, in processes of their own. No codec but these needs one, so none is no fault."""
    codecs, die = list(nvenc.ENCODERS), death_signal(os.getpid())
    with ThreadPoolExecutor(len(codecs)) as pool:
        problems = dict(
            zip(codecs, pool.map(lambda codec: try_encoder(small(codec), die).problem, codecs), strict=True)
        )
    able = [codec for codec, problem in problems.items() if not problem]
    if not able:
        return Finding(
            "nvenc", "ok", f"none: {problems[codecs[0]]}; --codec {', '.join(codecs)} cannot be used here, others can"
        )
    lacking = [f"{codec} cannot be used ({problem})" for codec, problem in problems.items() if problem]
    return Finding("nvenc", "ok", "; ".join([f"{', '.join(able)} encode{'s' * (len(able) == 1)}", *lacking]))


def _cuda() -> Finding:
    """Check in a process of its own that torch computes on the GPU, since torch is never loaded here."""
    ask = "import torch; print(torch.version.cuda, torch.zeros(1, device='cuda').add(1).item())"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", ask], capture_output=True, text=True, timeout=_TORCH_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding("cuda", "bad", f"torch did not answer within {_TORCH_S} s; look at `nvidia-smi` and dmesg")
    if done.returncode == 0:
        return Finding("cuda", "ok", f"CUDA {done.stdout.split()[0]} computes")
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return Finding(
        "cuda", "bad", f"torch cannot use the GPU ({last[:200]}); install a torch built for this driver's CUDA"
    )


def _balance(settings: Settings) -> Finding:
    """Say whether this machine's cores or its device limit a film of 640x480 without options."""
    found = film_balance(usual_work(), USUAL, device_here(settings), settings)
    said = f"{USUAL.model} at 640x480: {found.words}"
    if found.known is None or found.known.limit != "encoder":
        return Finding("balance", "ok", said, found.facts)
    return Finding(
        "balance", "warn", f"{said}; add cores, or restore with --preset ultrafast, whose films are larger", found.facts
    )


def _disks(settings: Settings) -> Iterator[Finding]:
    for what, place in (("state", settings.state), ("cache", settings.cache), ("scratch", settings.scratch)):
        folder = place.absolute() if place != Path() else settings.state
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        text = f"{free / 1e9:.0f} GB free at {folder}"
        if not os.access(folder, os.W_OK):
            yield Finding(
                f"disk for {what}", "bad", f"{folder} cannot be written; set RESPOOL_{what.upper()} to another"
            )
        elif free < _LOW_DISK:
            yield Finding(f"disk for {what}", "warn", f"{text}; make room, or set RESPOOL_{what.upper()} to another")
        else:
            yield Finding(f"disk for {what}", "ok", text)


def _confinement(settings: Settings) -> Finding:
    """Check what this system refuses to the process that parses media, in such a process."""
    with closing(Confined(settings, ahead=False)) as confined:
        found = confined.mechanisms()
    if {name.split()[0] for name in found} == {"landlock", "seccomp"}:
        return Finding("media process", "ok", f"confined by {' and '.join(found)}")
    return Finding(
        "media process",
        "warn",
        f"confined by {' and '.join(found) or 'nothing but its limits'}: it has no key, but could read this user's files; run "
        "orchestrators on Linux 6.12 or later, x86-64, as a user of their own",
    )


def _weights(settings: Settings) -> Iterator[Finding]:
    found = verify_models((), settings)
    here = [result.name for result in found if result.state == "ready"]
    yield Finding("weights", "ok" if here else "warn", ", ".join(here) or "none here yet; `respool models fetch NAME`")
    yield from (Finding("weights", "bad", result.message) for result in found if result.state == "damaged")
