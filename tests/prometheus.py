"""A real Prometheus that scrapes one farm, for the queries of dashboards and of the money tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from coordinator.embedded.ports import kept_ports
from tests.require import require_program
from tests.waiting import until


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str

    def query(self, promql: str) -> list[dict[str, object]]:
        """The instant vector; raises on a query that Prometheus refuses."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": promql}).json()
        assert answer["status"] == "success", f"{promql}: {answer.get('error')}"
        result: list[dict[str, object]] = answer["data"]["result"]
        return result

    def value(self, promql: str) -> float:
        """The one number of a query that has one."""
        (row,) = self.query(promql)
        return float(row["value"][1])  # type: ignore[index]

    def wait_for(self, promql: str) -> list[dict[str, object]]:
        """The first answer that is not empty."""
        return until(lambda: self.query(promql), evidence=lambda: f"no data for {promql}")


@contextmanager
def running_prometheus(folder: Path, target: str, *, key: str) -> Iterator[Prometheus]:
    """Scrapes `http://<target>/metrics` every second with this key; data below `folder`."""
    program = require_program("prometheus", "apt-get install prometheus")
    port = kept_ports(folder / "ports.json", ("prometheus",))["prometheus"]
    config = folder / "prometheus.yml"
    scrape = {
        "job_name": "farm",
        "scrape_interval": "1s",
        "authorization": {"credentials": key},
        "static_configs": [{"targets": [target]}],
    }
    config.write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
    command = [
        str(program),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (
        (folder / "prometheus.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            server = Prometheus(f"http://127.0.0.1:{port}")
            _wait_ready(server, process)
            yield server
        finally:
            process.terminate()


def _wait_ready(server: Prometheus, process: subprocess.Popen[bytes]) -> None:
    def ready() -> bool:
        assert process.poll() is None, "Prometheus ended at its start"
        try:
            return httpx.get(f"{server.url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    until(ready)
