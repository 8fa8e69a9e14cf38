"""Programs start fast: none of them imports libraries that only other programs need."""

from __future__ import annotations

import subprocess
import sys

import pytest

_DATABASE = {"sqlalchemy", "alembic"}
_SERVER = {"fastapi", "uvicorn", "jinja2"}
_ENGINE = {"torch", "diffusers", "transformers", "scipy"}


@pytest.mark.parametrize(
    ("program", "needless"),
    [
        ("coordinator.ingest.__main__", _DATABASE | _SERVER | _ENGINE),
        ("coordinator.service", _ENGINE),
        ("coordinator.gateway.__main__", _DATABASE | _ENGINE | {"boto3", "fastapi", "jinja2", "celery"}),
        ("gpu_node.agent.node", _DATABASE | _SERVER | _ENGINE | {"boto3", "PIL"}),
        ("gpu_node.cli", _DATABASE | _SERVER | _ENGINE | {"boto3"}),
    ],
)
def test_a_program_imports_no_library_of_others(program: str, needless: set[str]) -> None:
    code = f"import sys, {program}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(loaded.split()) & needless == set()
