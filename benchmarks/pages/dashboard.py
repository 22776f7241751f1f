"""docs/dashboard.md: every query of the Grafana dashboard in deploy/monitoring on a real cluster and a real Prometheus.

    python -m benchmarks.pages.dashboard docs/dashboard.md

runs a job on two workers, kills one in mid-chunk, and writes each panel with its queries and the values they had. Wants a `prometheus` on the PATH (Debian's package has it).
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testkit import cluster as rigs
from testkit.cluster import rig
from testkit.processes import until
from testkit.prometheus import WORKERS, Query, alerts, metrics_ports, panels, watching

_PATIENCE_S = 300.0


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
                until(lambda: query('respool_retries_total{cause="lease_expired"} > 0'), "the lost lease", _PATIENCE_S)
                until(
                    lambda: query("min(respool_worker_busy) == 1 and count(respool_worker_busy) == 2"),
                    "both",
                    _PATIENCE_S,
                )
                r.wait_done(job, 40, _PATIENCE_S)
                text = "\n".join(page(query)) + "\n"
            r.jobs.control(job, cancelled=True)
    options.page.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
