"""A real Prometheus that scrapes one farm, for the queries of dashboards and of the money tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
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

    def query(self, promql: str, *, at: float | None = None) -> list[dict[str, object]]:
        """The instant vector, now or at a time; raises on a query that Prometheus refuses."""
        asked = {"query": promql} | ({} if at is None else {"time": str(at)})
        answer = httpx.get(f"{self.url}/api/v1/query", params=asked).json()
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
def running_prometheus(folder: Path, target: str, *options: str, key: str) -> Iterator[Prometheus]:
    """Scrapes `http://<target>/metrics` every second with this key; data below `folder`."""
    scrape: dict[str, object] = {
        "job_name": "farm",
        "scrape_interval": "1s",
        "authorization": {"credentials": key},
        "static_configs": [{"targets": [target]}],
    }
    with prometheus_on(folder, scrape, options=options) as server:
        yield server


@contextmanager
def prometheus_on(
    folder: Path,
    *scrapes: dict[str, object],
    options: Sequence[str] = (),
    settings: Mapping[str, object] | None = None,
) -> Iterator[Prometheus]:
    """Serves what is below `folder`, and scrapes; `settings` are further ones of its file."""
    program = require_program("prometheus", "apt-get install prometheus")
    port = kept_ports(folder / "ports.json", ("prometheus",))["prometheus"]
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": list(scrapes), **(settings or {})}))
    command = [
        str(program),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        *options,
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


def history(
    folder: Path, *, counters: dict[str, float], gauges: dict[str, float], end: int, seconds: int
) -> None:
    """Fills the data below `folder` with the `seconds` until `end`; `counters` grow by so much per second.

    Series are written as `name{label="value"}`; each gets the label `job`.
    """
    promtool = require_program("promtool", "apt-get install prometheus")
    step = 15
    lines = []
    for series, value in [*counters.items(), *gauges.items()]:
        name, _, labels = series.partition("{")
        full = name + "{" + ", ".join(filter(None, ['job="farm"', labels.removesuffix("}")])) + "}"
        full = full.replace(", ", ",")
        for at in range(end - seconds, end + 1, step):
            told = value * (at - (end - seconds)) if series in counters else value
            lines.append(f"{full} {told!r} {at}")
    file = folder / "history.txt"
    file.write_text("\n".join([*lines, "# EOF", ""]))
    command = [str(promtool), "tsdb", "create-blocks-from", "openmetrics", str(file), str(folder / "tsdb")]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def _wait_ready(server: Prometheus, process: subprocess.Popen[bytes]) -> None:
    def ready() -> bool:
        assert process.poll() is None, "Prometheus ended at its start"
        try:
            return httpx.get(f"{server.url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    until(ready)
