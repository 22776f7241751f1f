# A GPU worker. torch's wheels bring CUDA, cuDNN and NCCL; the host brings the driver, through NVIDIA's container runtime.
# Build from the repository's root:
#   docker build -f deploy/docker/worker.Dockerfile -t respool-worker .
# For builds that can be compared byte by byte: SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) docker buildx build
#   --build-arg SOURCE_DATE_EPOCH --output type=oci,rewrite-timestamp=true,dest=worker.tar ...
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ARG SOURCE_DATE_EPOCH=0
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}
# basicsr and a few others come as sources with C in them.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/respool
ENV PATH=/opt/respool/bin:${PATH}
WORKDIR /src
COPY constraints.txt ./
# basicsr's setup asks for torch at build time; a layer of its own, since it is large and changes rarely.
RUN pip install -c constraints.txt setuptools setuptools-scm wheel cython numpy torch torchvision
COPY pyproject.toml README.md LICENSE ./
COPY contract contract
COPY stores stores
COPY media media
COPY orchestrator orchestrator
COPY weights weights
COPY workers workers
COPY training training
RUN pip install -c constraints.txt --no-build-isolation '.[worker]'

FROM python:${PYTHON}
# OpenCV's wheel links against the first two, and Triton builds its kernels' launchers with a C compiler; without one the network
# runs uncompiled, at half the speed. Everything else is in the wheels.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 respool \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/respool --shell /usr/sbin/nologin respool \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/respool /var/lib/respool/cache /var/lib/respool/scratch \
        /run/respool-gpus
COPY --from=build /opt/respool /opt/respool
COPY --chmod=0755 deploy/docker/one-gpu.sh /usr/local/bin/one-gpu
ENV PATH=/opt/respool/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/respool \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \
    RESPOOL_CACHE=/var/lib/respool/cache \
    RESPOOL_SCRATCH=/var/lib/respool/scratch \
    RESPOOL_LOG_FORMAT=json \
    RESPOOL_METRICS_HOST=0.0.0.0 \
    RESPOOL_METRICS_PORT=9108
WORKDIR /var/lib/respool
USER 10001:10001
EXPOSE 9108
# SIGTERM: the worker hands its chunk back and leaves within 15 seconds.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['RESPOOL_METRICS_PORT'] + '/healthz', timeout=3)"]
ENTRYPOINT ["respool"]
CMD ["worker"]
