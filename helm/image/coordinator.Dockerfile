# Coordinator, ingest, `farm`, and the servers of a trial (Valkey, SeaweedFS). The tests do not build it.
#
#     docker build -f helm/image/coordinator.Dockerfile -t shotfarm-coordinator:0.1.0 .

# For builds that can be repeated, give a digest: --build-arg PYTHON=python@sha256:...
ARG PYTHON=python:3.11.14-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/shotfarm
ENV PATH=/opt/shotfarm/bin:$PATH
WORKDIR /src
# What is pinned, by hash.
COPY .ci/requirements .ci/requirements
RUN pip install --require-hashes --only-binary :all: --no-deps -r .ci/requirements/build.txt \
 && pip install --require-hashes --only-binary :all: --no-deps -r .ci/requirements/coordinator.txt
COPY pyproject.toml README.md LICENSE ./
COPY common common
COPY coordinator coordinator
COPY gpu_node gpu_node
RUN pip install --no-deps --no-build-isolation . && pip check \
 && ln -s "$(python -c 'from coordinator.embedded.valkey import server_binary; print(server_binary())')" /opt/shotfarm/bin/valkey-server

FROM ${PYTHON}
COPY --from=build /opt/shotfarm /opt/shotfarm
ENV PATH=/opt/shotfarm/bin:$PATH FARM_HOME=/var/lib/shotfarm PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2
# A name and a home, which libraries ask for.
RUN groupadd --gid 10001 shotfarm \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/shotfarm --shell /usr/sbin/nologin shotfarm \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/shotfarm
USER 10001:10001
WORKDIR /var/lib/shotfarm
EXPOSE 8080
CMD ["python", "-m", "coordinator.service"]
