# The orchestrator, the command line and Flower; no torch and no CUDA.
# Build from the repository's root:
#   docker build -f deploy/docker/orchestrator.Dockerfile -t respool-orchestrator .
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ARG SOURCE_DATE_EPOCH=0
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}
RUN python -m venv /opt/respool
ENV PATH=/opt/respool/bin:${PATH}
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY contract contract
COPY stores stores
COPY media media
COPY orchestrator orchestrator
COPY weights weights
COPY workers workers
COPY training training
RUN pip install -c constraints.txt .

FROM python:${PYTHON}
RUN groupadd --gid 10001 respool \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/respool --shell /usr/sbin/nologin respool \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/respool /var/lib/respool/cache /var/lib/respool/scratch
COPY --from=build /opt/respool /opt/respool
ENV PATH=/opt/respool/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/respool \
    RESPOOL_CACHE=/var/lib/respool/cache \
    RESPOOL_SCRATCH=/var/lib/respool/scratch \
    RESPOOL_LOG_FORMAT=json \
    RESPOOL_METRICS_HOST=0.0.0.0 \
    RESPOOL_METRICS_PORT=9108
WORKDIR /var/lib/respool
USER 10001:10001
EXPOSE 9108 5555
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['RESPOOL_METRICS_PORT'] + '/healthz', timeout=3)"]
ENTRYPOINT ["respool"]
CMD ["orchestrator"]
