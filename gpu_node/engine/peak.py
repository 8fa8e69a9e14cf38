"""The most memory that work on a device has held at once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")
#: Written to clear_refs it makes the kernel's peak (VmHWM) begin anew (proc(5)).
_RESET_PEAK = "5"


class PeakMeter:
    """Of the card's memory that torch reserved; on `cpu`, of all host memory that the process has."""

    def __init__(self, device: str) -> None:
        self._device = device

    def forget(self, *, cached: bool = False) -> None:
        """Let the peak begin at what is held now; with `cached` without what torch keeps for later passes."""
        if cached and self._device != "cpu":
            torch.cuda.empty_cache()
        if self._device != "cpu":
            # Until the first use of a card nothing is held on it, and torch refuses to forget.
            if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
                torch.cuda.reset_peak_memory_stats(self._device)
            return
        # Where the kernel lets nobody, the peak is that of the process so far.
        with suppress(OSError):
            (_PROCESS / "clear_refs").write_text(_RESET_PEAK)

    def measured(self) -> int | None:
        """Bytes at the most since `forget`; None where the system does not say."""
        if self._device != "cpu":
            return int(torch.cuda.max_memory_reserved(self._device))
        with suppress(OSError):
            for line in (_PROCESS / "status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return None
