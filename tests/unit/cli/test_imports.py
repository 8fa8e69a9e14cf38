"""What a command imports: one that calls a farm must begin at once, also on a busy machine."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.programs import own_environment

#: Commands that only call a farm and print its answer.
CLIENTS = (
    "jobs", "watch", "pause", "resume", "cancel", "retry", "requeue", "accept", "reject", "delete",
    "priority", "explain", "cost", "thanks", "whoami", "audit", "nodes", "status", "top", "pick", "keys",
    "node", "webhooks",
)  # fmt: skip
#: What only servers, nodes, plans and images need; each takes longer than such a command.
HEAVY = (
    "torch", "diffusers", "numpy", "scipy", "PIL", "jinja2", "sqlalchemy", "fastapi", "starlette", "uvicorn",
    "boto3", "celery", "redis", "click", "pygments", "segno", "coordinator.ledger", "coordinator.scheduling",
    "coordinator.estimate", "coordinator.importing", "common.catalog", "common.manifest",
    "coordinator.estimate", "coordinator.importing", "common.catalog", "common.manifest",
)  # fmt: skip
#: Modules of one; it was 660 when each imported what all need.
MOST = 560

_PROGRAM = """
import json, sys
from coordinator.cli.main import farm_app, start_fast

start_fast()
for name in sys.argv[1:]:
    farm_app(name)
from common.views import JobView, StatusView

built = [kind.__name__ for kind in (JobView, StatusView) if kind.__pydantic_complete__]
print(json.dumps([[*sys.modules], built]))
"""


def test_commands_that_call_a_farm_import_nothing_of_servers_plans_and_images() -> None:
    command = [sys.executable, "-c", _PROGRAM, *CLIENTS]
    done = subprocess.run(command, env=own_environment(), capture_output=True, text=True, check=True)
    modules, built = json.loads(done.stdout)
    assert {*HEAVY} & {*modules} == set()
    assert len(modules) <= MOST, "import what only some calls need where it is needed"
    assert built == [], "validators of messages are built when a command first reads one"
