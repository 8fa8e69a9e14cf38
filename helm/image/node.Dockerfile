# A node. The tests do not build it. CUDA 13.0 is for Turing and newer cards, CUDA 12.6 for Pascal and Volta:
#
#     docker build -f helm/image/node.Dockerfile -t shotfarm-node:0.1.0-cu130 .
#     docker build -f helm/image/node.Dockerfile -t shotfarm-node:0.1.0-cu126 --build-arg CUDA=cu126 .
#
# The CUDA libraries come with torch; the driver comes from the host by NVIDIA's container runtime.

# For builds that can be repeated, give a digest: --build-arg PYTHON=python@sha256:...
ARG PYTHON=python:3.11.14-slim-bookworm

FROM ${PYTHON} AS build
ARG CUDA=cu130
ARG TORCH_INDEX=https://download.pytorch.org/whl/
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/shotfarm
ENV PATH=/opt/shotfarm/bin:$PATH
WORKDIR /src
# What is pinned, by hash; then torch, with the CUDA libraries of its build.
COPY .ci/requirements .ci/requirements
RUN pip install --require-hashes --only-binary :all: --no-deps -r .ci/requirements/build.txt \
 && pip install --require-hashes --only-binary :all: --no-deps -r .ci/requirements/run.txt
RUN pip install -r .ci/requirements/torch.txt --index-url "${TORCH_INDEX}${CUDA}"
COPY pyproject.toml README.md LICENSE ./
COPY common common
COPY coordinator coordinator
COPY gpu_node gpu_node
RUN pip install --no-deps --no-build-isolation .

FROM ${PYTHON}
COPY --from=build /opt/shotfarm /opt/shotfarm
# Models come from the farm, never from a hub.
ENV PATH=/opt/shotfarm/bin:$PATH FARM_HOME=/var/lib/shotfarm PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# A name and a home, which libraries ask for.
RUN groupadd --gid 10001 shotfarm \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/shotfarm --shell /usr/sbin/nologin shotfarm \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/shotfarm /var/cache/shotfarm
USER 10001:10001
WORKDIR /var/lib/shotfarm
# The first signal finishes the running pass.
STOPSIGNAL SIGTERM
ENTRYPOINT ["farm-node"]
CMD ["--help"]
