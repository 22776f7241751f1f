"""docs/dashboard.md: every query of the Grafana dashboard in deploy/monitoring on a real cluster and a real Prometheus.

    python -m benchmarks.pages.dashboard docs/dashboard.md

runs a job on two workers, kills one in mid-chunk, and writes each panel with its queries and the values they had. `watching`
is what the tests use as well. Wants a `prometheus` on the PATH (Debian's package has it).
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
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
from testkit import cluster as rigs
from testkit.cluster import Rig, rig, until

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
WORKERS = 2
_PATIENCE_S = 300.0
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
        until(up, _SCRAPED_S, f"a scrape of all processes; {folder}/prometheus.log")
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


def shown(found: list[dict[str, Any]], legend: str, unit: str) -> str:
    """Format the values of a query, each with its legend, for the page."""
    if not found:
        return "none"
    words = []
    for series in found:
        label = re.sub(r"\{\{(\w+)\}\}", lambda m, s=series: s["metric"].get(m[1], ""), legend)  # type: ignore[misc]
        words.append(f"{label} {_readable(float(series['value'][1]), unit)}")
    return ", ".join(sorted(words))


def _readable(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / (1 << 30):.1f} GiB"
    if unit == "percentunit":
        return f"{100 * value:.0f} %"
    return f"{value:.3g}{' s' if unit == 's' else ''}" if value < 1000 else f"{value:,.0f}"


def page(query: Query) -> Iterator[str]:
    """docs/dashboard.md, line by line."""
    yield "# The Grafana dashboard, panel by panel\n"
    yield "Import [dashboard.json](../deploy/monitoring/dashboard.json) into Grafana. The table has its panels in order: what each shows, its"
    yield "query to Prometheus, and the value in a real run. `python -m benchmarks.pages.dashboard docs/dashboard.md` writes this page.\n"
    yield "In that run two workers of an embedded cluster on two busy cores were in mid-job, one of them killed and restarted a little before; each"
    yield "chunk slept for a second in place of a GPU. Grafana itself was not started. Rates over five and ten minutes are low, because the run was"
    yield "shorter than that.\n"
    yield "| panel | what it shows | query | value |"
    yield "| --- | --- | --- | --- |"
    for panel in panels():
        title, text = f"**{panel.title}**", panel.description or panel.title
        for expression, legend in panel.queries:
            bars = expression.replace("|", "\\|")
            yield f"| {title} | {text} | `{bars}` | {shown(query(expression), legend, panel.unit)} |"
            title, text = "", ""
    yield '\nThere was no GPU, so GPU memory has no series; no attempt raised an error, so "Why attempts failed" has none.\n'
    yield "## The alerts in the same run\n"
    yield "| alert | firing |"
    yield "| --- | --- |"
    for name, expression in alerts().items():
        yield f"| `{name}` | {'yes' if query(expression) else 'no'} |"
    yield "\n`deploy/monitoring/alerts.test.yaml` has the histories in which each of them fires, and does not."


def main() -> int:
    """Write the page; 2 without a Prometheus."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pages.dashboard", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("page", type=Path)
    options = parser.parse_args()
    program = shutil.which("prometheus")
    if program is None:
        print("no prometheus on the PATH; install Debian's package of that name.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        film = rigs.film(folder, 600)
        with rig(folder, WORKERS, "slow-1", metrics_port=metrics_ports(), device="cpu") as r:
            with watching(program, r, folder) as query:
                job = r.submit(film)
                r.wait_done(job, 5, _PATIENCE_S)
                r.hurt(r.processes("worker")[0].pid, signal.SIGKILL)
                until(lambda: query('respool_retries_total{cause="lease_expired"} > 0'), _PATIENCE_S, "the lost lease")
                until(
                    lambda: query("min(respool_worker_busy) == 1 and count(respool_worker_busy) == 2"),
                    _PATIENCE_S,
                    "both",
                )
                r.wait_done(job, 40, _PATIENCE_S)
                text = "\n".join(page(query)) + "\n"
            r.jobs.control(job, cancelled=True)
    options.page.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
