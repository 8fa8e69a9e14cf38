"""An alert on its whole way: a real Prometheus with the rules of a farm, a real Alertmanager, a webhook."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import yaml

from coordinator.embedded.ports import kept_ports
from tests.local_http import serving
from tests.prometheus import prometheus_on
from tests.receiver import Receiver, receiver
from tests.require import require_program
from tests.waiting import until

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm" / "rules" / "shotfarm.yaml"
EXAMPLE = ROOT / "docs" / "examples" / "alertmanager.yaml"


def metrics_of_a_farm(celsius: list[int]) -> type[BaseHTTPRequestHandler]:
    """Answers a scrape as a farm with one node does, whose card is at the last temperature of the list."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            hot = f'farm_node_temperature_celsius{{node="attic"}} {celsius[-1]}'
            self.wfile.write(f"farm_money_info 1\n{hot}\n".encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def running_alertmanager(folder: Path, webhook: str) -> Iterator[str]:
    """The host and port of one with the example's configuration, which tells `webhook` at once."""
    program = require_program("prometheus-alertmanager", "apt-get install prometheus-alertmanager")
    folder.mkdir()
    config = yaml.safe_load(EXAMPLE.read_text())
    config["route"] |= {"group_wait": "0s", "group_interval": "1s"}
    config["receivers"][0]["webhook_configs"][0]["url"] = webhook
    (folder / "alertmanager.yaml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{kept_ports(folder / 'ports.json', ('alertmanager',))['alertmanager']}"
    command = [
        str(program),
        f"--config.file={folder / 'alertmanager.yaml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until(lambda: process.poll() is not None or _is_ready(address))
            assert process.poll() is None, (folder / "log").read_text()
            yield address
        finally:
            process.terminate()


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


def told_of(people: Receiver, alert: str, status: str) -> dict[str, Any]:
    """The first alert of this name and status that is posted."""
    while True:
        message = json.loads(people.next().body)
        for one in message["alerts"]:
            if (one["labels"]["alertname"], one["status"]) == (alert, status):
                return dict(one)


def test_an_alert_reaches_a_webhook_with_its_runbook_and_so_does_its_end(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(re.sub(r"for: \d+m", "for: 0s", RULES.read_text()))
    with (
        receiver() as people,
        running_alertmanager(tmp_path / "alertmanager", f"{people.url}/alerts") as alertmanager,
    ):
        settings = {
            "global": {"evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        }
        celsius = [91]
        with serving(metrics_of_a_farm(celsius)) as farm:
            target = {"targets": [farm.removeprefix("http://")]}
            scrape = {"job_name": "farm", "scrape_interval": "1s", "static_configs": [target]}
            with prometheus_on(tmp_path, scrape, settings=settings):
                hot = told_of(people, "FarmCardHot", "firing")
                assert hot["labels"]["severity"] == "warning"
                assert hot["annotations"] == {
                    "summary": "The card of node attic is at 91 °C.",
                    "runbook": "docs/how-to/alerts.md#farmcardhot",
                }
                celsius.append(60)
                assert told_of(people, "FarmCardHot", "resolved")["labels"] == hot["labels"]
