"""Why a model could not be loaded or a shot not be rendered, in words the ledger counts."""

from __future__ import annotations


class RenderError(Exception):
    """`kind` is one of `common.failures`; the message is a sentence for a person.

    `peak_bytes` is what was held when memory ran out, where that is known.
    """

    def __init__(self, kind: str, message: str, peak_bytes: int | None = None) -> None:
        self.kind = kind
        self.peak_bytes = peak_bytes
        super().__init__(message)
