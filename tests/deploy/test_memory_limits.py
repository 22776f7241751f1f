"""Memory of orchestrators: the chart, Compose and Slurm set the same limit, and readers of sources stay below it."""

from __future__ import annotations

import re
from pathlib import Path

from contract.settings import Settings
from stores.limits import memory_limit

DEPLOY = Path(__file__).parents[2] / "deploy"


def found(path: str, pattern: str) -> int:
    """Return the bytes of the one limit, in GiB, that `pattern` finds in a file below deploy/."""
    match = re.search(pattern, (DEPLOY / path).read_text(), re.S)
    assert match is not None, path
    return int(match[1]) << 30


def test_every_deployment_limits_orchestrators_alike(tmp_path: Path) -> None:
    """In each of them a reader is refused memory by its own limit, before the kernel kills the whole container."""
    limits = {
        found("helm/values.yaml", r"\norchestrator:.*?limits: \{memory: (\d+)Gi\}"),
        found("compose/compose.yaml", r"\n  orchestrator:.*?mem_limit: (\d+)g"),
        found("slurm/orchestrator.sbatch", r"#SBATCH --mem=(\d+)G"),
    }
    assert len(limits) == 1
    (limit,) = limits
    file = tmp_path / "memory.max"
    file.write_text(f"{limit}\n")
    assert memory_limit(Settings(), [file]) == int(limit * 0.8)
