"""Why a model could not be loaded or a shot not be rendered, in words the ledger counts."""

from __future__ import annotations


class RenderError(Exception):
    """`kind` is one of `common.failures`; the message is a sentence for a person."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)
