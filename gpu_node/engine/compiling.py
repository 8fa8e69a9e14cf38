"""The repeated blocks of a denoiser, compiled by torch: a warm-up of seconds or minutes, then shorter steps.

Only these blocks are compiled ("regional compilation"): each kind once, whatever their number. Compiled
arithmetic rounds in other places, so that pictures differ a little; passes say whether they were compiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Blocks:
    """The blocks of a denoiser. They compute as they are, but while they are `compiled`."""

    def __init__(self, denoiser: Any) -> None:
        names = getattr(denoiser, "_repeated_blocks", None) or ()
        self._blocks = [module for module in denoiser.modules() if type(module).__name__ in names]
        self._compiled: list[Any] = []

    @contextmanager
    def compiled(self) -> Iterator[None]:
        """While inside, a block that is called with inputs of a new shape is compiled for it.

        Raises what the compiler raises, such as without a C++ compiler; the blocks are as before then.
        """
        if not self._compiled:
            self._compiled = [_compiled_call(block) for block in self._blocks]
        try:
            for block, call in zip(self._blocks, self._compiled, strict=True):
                block._compiled_call_impl = call
            yield
        finally:
            for block in self._blocks:
                block._compiled_call_impl = None

    def forget(self) -> None:
        """Give up what was compiled: the layers are others now."""
        if self._compiled:
            self._compiled = []
            torch._dynamo.reset()


def compiling_seconds() -> float:
    """Seconds that this process has compiled so far."""
    import torch._dynamo.utils as dynamo

    return float(dynamo.calculate_time_spent()["total_wall_time"])


def _compiled_call(block: torch.nn.Module) -> Any:
    block.compile()
    return block._compiled_call_impl
