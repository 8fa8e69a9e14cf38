"""How much of a card other programs use, by NVML."""

from __future__ import annotations

import time
from typing import Any


class OtherUse:
    """Percent of a card that others than the node's engine use; `nvml` is the pynvml module, initialised."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self._last_us = int(time.time() * 1e6)

    def percent(self, own: int | None) -> float | None:
        """Since the last look; `own` is the process of the engine. None where the driver does not tell."""
        nvml = self._nvml
        try:
            samples = nvml.nvmlDeviceGetProcessUtilization(self._handle, self._last_us)
        except nvml.NVMLError_NotFound:
            return 0.0
        except nvml.NVMLError:
            return self._computes(own)
        # Drivers also give old samples, and empty ones.
        new = [sample for sample in samples if sample.timeStamp > self._last_us]
        self._last_us = max([self._last_us, *(int(sample.timeStamp) for sample in new)])
        most: dict[int, float] = {}
        for sample in new:
            if sample.pid != own:
                most[sample.pid] = max(most.get(sample.pid, 0.0), float(sample.smUtil))
        return min(sum(most.values()), 100.0)

    def _computes(self, own: int | None) -> float | None:
        """All of it where another process computes, on cards that do not tell how much."""
        try:
            processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        except self._nvml.NVMLError:
            return None
        return 100.0 * any(process.pid != own for process in processes)
