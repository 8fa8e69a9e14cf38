"""Why a model could not be loaded or a shot not be rendered, in words the ledger counts."""

from __future__ import annotations

#: What torch, its backends and the system say when memory does not suffice.
_OUT_OF_MEMORY = ("out of memory", "allocate memory", "not enough memory", "STATUS_ALLOC_FAILED")


class RenderError(Exception):
    """`kind` is one of `common.failures`; the message is a sentence for a person.

    `peak_bytes` is what was held when memory ran out, where that is known; `name` what the node should put
    aside, where that is not the model.
    """

    def __init__(self, kind: str, message: str, peak_bytes: int | None = None, *, name: str = "") -> None:
        self.kind = kind
        self.peak_bytes = peak_bytes
        self.name = name
        super().__init__(message)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the card's memory, or the host's, did not suffice."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def is_device_lost(error: BaseException) -> bool:
    """Whether the card itself failed, such as by an illegal access; a process does not recover from it."""
    return "CUDA error" in str(error)


def first_line(error: BaseException) -> str:
    """The first line of what a library says, or the error's type where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
