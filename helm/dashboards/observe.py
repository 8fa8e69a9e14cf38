"""Prometheus beside the farm of this folder: `make observe`, or `helm/dashboards/observe.py [SETTINGS]`.

Starts the farm if none runs, and Prometheus, which shows the queries of all dashboards on pages of its own,
for those who have no Grafana. Ctrl-C ends Prometheus; the farm goes on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

import yaml

from common.settings import Settings, load_settings
from common.terminal import exit_on_error
from coordinator.embedded.addresses import local_url
from coordinator.embedded.home import Home
from coordinator.embedded.ports import kept_ports
from coordinator.embedded.state import supervisor_pid

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

from panels import BOARDS, Board, Panel  # noqa: E402

_SCRAPE_S = 2
#: What Grafana puts in for its variables.
_WINDOWS = {"$__rate_interval": "1m", "$__range": "1h"}
_CURRENCY = "{{ with query `farm_money_info` }}{{ . | first | label `currency` }}{{ end }}"
#: How a unit of Grafana is written; others are numbers with their unit behind.
_VALUES = {
    "percentunit": "{{ .Value | humanizePercentage }}",
    "s": "{{ .Value | humanizeDuration }}",
    "none": "{{ .Value | humanize }}",
    "short": "{{ .Value | humanize }}",
}
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="10">
<title>@TITLE@ · Shotfarm</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem; color: #222; background: #f6f5f2; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; }
section { background: #fff; border-radius: 6px; padding: .8rem 1rem; } h2 { font-size: 1rem; margin: 0; }
p { margin: .2rem 0 .5rem; color: #6b6862; font-size: .85rem; } td { padding: .1rem .8rem .1rem 0; }
</style>
<nav>@LINKS@</nav><h1>@TITLE@</h1><p>@DESCRIPTION@</p>
<main>@PANELS@</main>
</html>
"""


def main(arguments: Sequence[str]) -> int:
    """Becomes Prometheus; returns the exit code if that cannot be."""
    program = shutil.which("prometheus")
    if program is None:
        print(
            "Prometheus is not installed: install it (on Debian: `apt-get install prometheus`) and run "
            "`make observe` again",
            file=sys.stderr,
        )
        return 1
    with exit_on_error():
        settings = load_settings(Path(arguments[0]) if arguments else None)
        home = Home(settings.home.absolute())
    if supervisor_pid(home) is None:
        given = ["--settings", arguments[0]] if arguments else []
        up = subprocess.run([sys.executable, "-m", "coordinator.cli.main", "up", *given], check=False)
        if up.returncode:
            return up.returncode
    command, url = prepare(program, home, load_settings(home.settings))
    print(f"dashboards: {url}/consoles/farm.html · Ctrl-C ends Prometheus, `farm down` the farm", flush=True)
    return os.execv(program, command)


def prepare(program: str, home: Home, settings: Settings) -> tuple[list[str], str]:
    """Write configuration and pages below the farm's data; returns Prometheus' command and address."""
    folder = home.root / "prometheus"
    folder.mkdir(mode=0o700, exist_ok=True)
    scrape = {
        "job_name": "shotfarm",
        "scrape_interval": f"{_SCRAPE_S}s",
        "authorization": {"credentials_file": str(home.keys / "operator")},
        "static_configs": [{"targets": [local_url(settings).removeprefix("http://")]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
    write_pages(folder / "consoles")
    port = kept_ports(folder / "ports.json", ("prometheus",))["prometheus"]
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.console.templates={folder / 'consoles'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    return command, f"http://127.0.0.1:{port}"


def write_pages(folder: Path) -> None:
    """A console template of Prometheus for each dashboard."""
    folder.mkdir(exist_ok=True)
    for board in BOARDS:
        (folder / f"{board.name.lower()}.html").write_text(_page(board), encoding="utf-8")


def _page(board: Board) -> str:
    links = " · ".join(f'<a href="{each.name.lower()}.html">{escape(each.name)}</a>' for each in BOARDS)
    parts = {
        "TITLE": escape(board.name),
        "LINKS": links,
        "DESCRIPTION": escape(board.description).replace("$currency", _CURRENCY),
        "PANELS": "".join(map(_panel, board.panels)),
    }
    page = _PAGE
    for name, text in parts.items():
        page = page.replace(f"@{name}@", text)
    return page


def _panel(panel: Panel) -> str:
    title = escape(panel.title).replace("$currency", _CURRENCY)
    rows = "".join(_rows(promql, legend, panel.unit) for promql, legend in panel.queries)
    return f"<section><h2>{title}</h2><p>{escape(panel.description)}</p><table>{rows}</table></section>\n"


def _rows(promql: str, legend: str, unit: str) -> str:
    for name, window in _WINDOWS.items():
        promql = promql.replace(name, window)
    value = _VALUES.get(unit, f"{{{{ .Value | humanize }}}} {escape(unit)}")
    # A legend names a label in the braces that templates use for their actions.
    words = escape(legend).replace("{{", "{{ .Labels.").replace("}}", " }}")
    none = f"<tr><td>{escape(legend.replace('{{', '').replace('}}', ''))}</td><td>no data</td></tr>"
    row = f"<tr><td>{words}</td><td>{value}</td></tr>"
    return f"{{{{ range query `{promql}` }}}}{row}{{{{ else }}}}{none}{{{{ end }}}}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
