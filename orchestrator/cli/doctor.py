"""respool doctor: checks of everything that Respool needs."""

from __future__ import annotations

import click

from contract.settings import Settings
from orchestrator.cli.common import command
from orchestrator.cli.exits import Exit
from orchestrator.cli.terminal import echo


@command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(settings: Settings, as_json: bool) -> int:
    """Check everything that Respool needs.

    Versions, servers, clocks, the guarantees of S3, GPU, weights and disk, each with what to do; exit code 1 when
    something is bad.
    """
    import msgspec

    from orchestrator.doctor.machine_checks import examine

    findings = examine(settings)
    if as_json:
        echo(msgspec.json.format(msgspec.json.encode(findings), indent=2))
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            echo(f"{finding.verdict:<5} {finding.what:<{width}}  {finding.detail}")
    return Exit.FAILED if any(finding.verdict == "bad" for finding in findings) else Exit.DONE
