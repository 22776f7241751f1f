"""A real Prometheus on a cluster's metrics, and the queries of the dashboard and the alert rules."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orchestrator.local.servers import free_ports
from testkit.cluster import Rig
from testkit.processes import until

MONITORING = Path(__file__).parents[1] / "deploy" / "monitoring"
WORKERS = 2
_SCRAPED_S = 60.0
"""By then a cluster that is up has been scraped: else one of its ports was taken."""
_SCRAPE_S = 1
Query = Callable[[str], list[dict[str, Any]]]
"""Evaluates an expression now: Prometheus' own list of {"metric": labels, "value": [time, text]}."""


@dataclass(frozen=True)
class Panel:
    """One panel: `queries` are (expression, legend)."""

    title: str
    description: str
    unit: str
    queries: tuple[tuple[str, str], ...]


def panels() -> list[Panel]:
    """List the dashboard's panels in its order."""
    board = json.loads((MONITORING / "dashboard.json").read_text())
    return [
        Panel(
            p["title"],
            p["description"],
            p["fieldConfig"]["defaults"]["unit"],
            tuple((t["expr"], t["legendFormat"]) for t in p["targets"]),
        )
        for p in board["panels"]
    ]


def alerts() -> dict[str, str]:
    """Expressions of the alert rules, by name."""
    groups = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def metrics_ports() -> int:
    """Find a port for the orchestrator's metrics with free ones after it for the workers', as the embedded cluster counts."""
    while True:
        found = free_ports(1 + WORKERS)  # taken together: this process's own servers get none of them
        if found[-1] - found[0] == WORKERS:
            return found[0]


@contextmanager
def watching(program: str, r: Rig, folder: Path) -> Iterator[Query]:
    """Run the `prometheus` at `program` on the cluster's metrics, with the alert rules, scraping every second."""
    port = r.settings.metrics_port
    workers = [f"127.0.0.1:{port + 1 + n}" for n in range(WORKERS)]
    jobs = {"respool-orchestrator": [f"127.0.0.1:{port}"], "respool-worker": workers}
    config = {
        "global": {"scrape_interval": f"{_SCRAPE_S}s", "evaluation_interval": f"{_SCRAPE_S}s"},
        "rule_files": [str(MONITORING / "alerts.yaml")],
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": to}]} for job, to in jobs.items()],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    (listen,) = free_ports(1)
    argv = [program, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/prometheus"]
    argv += [f"--web.listen-address=127.0.0.1:{listen}", "--log.level=warn"]

    def query(expression: str) -> list[dict[str, Any]]:
        where = f"http://127.0.0.1:{listen}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(where, timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def up() -> bool:
        try:
            return len(query("up == 1")) == 1 + WORKERS
        except (urllib.error.URLError, ConnectionError):
            return False

    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        until(up, f"a scrape of all processes; {folder}/prometheus.log", _SCRAPED_S)
        yield query
    finally:
        process.terminate()
        process.wait(30)


def named(expression: str) -> set[tuple[str, str]]:
    """(metric, label) for each of our metrics in an expression and each label that is asked of it; label "" for none.

    Labels of an aggregation (`by`, `on`) are asked of every metric in it: our expressions aggregate one at a time.
    """
    asked: set[tuple[str, str]] = set()
    names = set(re.findall(r"\brespool_[a-z_]+", expression))
    asked |= {(name, "") for name in names}
    for name, selector in re.findall(r"\b(respool_[a-z_]+)\{([^}]*)\}", expression):
        asked |= {(name, label) for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)}
    for labels, after in re.findall(r"\bby \(([^)]*)\)\s*(.*)", expression):
        first = re.search(r"\brespool_[a-z_]+", after)
        if first:
            asked |= {(first[0], label.strip()) for label in labels.split(",") if label.strip()}
    return asked
