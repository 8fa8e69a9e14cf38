"""The gateway of a benchmark: `python -m tests.benchmarks.gateway_process`. All nodes come from one address.

It imports nothing else, because its memory is measured.
"""

from __future__ import annotations

from common.settings import load_settings
from coordinator.gateway.__main__ import run
from coordinator.gateway.limits import CallLimits

MOST = 10_000

if __name__ == "__main__":
    run(load_settings(), CallLimits(connections=MOST, connections_of_address=MOST, open_calls=1e6))
