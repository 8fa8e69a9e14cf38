"""Judges textual inversions and upscalers by the headers of their files: those in the store, or on this
machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Generic, TypeVar

from common.catalog import TextualInversion, Upscaler
from common.errors import Invalid, Misconfigured, NotFound, Unavailable
from common.weights import Header
from common.weights.textual_inversion import inversion_form
from common.weights.upscaler import upscaler_form

_Entry = TypeVar("_Entry", bound=TextualInversion | Upscaler)

_AGAIN = "add it again with `farm models add`"


class EntryFiles(Generic[_Entry]):
    """Remembers which files are right."""

    def __init__(
        self,
        judge: Callable[[_Entry, Header], str | None],
        sources: Iterable[Callable[[_Entry], Header | None]],
        *,
        must_have: bool,
    ) -> None:
        """`sources` return the header of a file, None where it is not there.

        `must_have`: nodes fetch the files from these sources, so that they must be there.
        """
        self._judge = judge
        self._sources = tuple(sources)
        self._must_have = must_have
        self._right: set[_Entry] = set()

    def misfit(self, entry: _Entry) -> str | None:
        """Why the file is not what the entry says, and what mends it; None where nothing is known to be
        wrong.
        """
        if entry in self._right:
            return None
        # A store that does not answer is no reason to refuse a manifest.
        with suppress(Unavailable, Misconfigured, OSError):
            why = self._why(entry)
            if why is None:
                self._right.add(entry)
            return why
        return None

    def _why(self, entry: _Entry) -> str | None:
        try:
            header = self._header(entry)
        except Invalid as error:
            return f"its file cannot be read: {error}"
        if header is None:
            missing = f"the store has no file of it; run `farm models publish {entry.name}`"
            return missing if self._must_have else None
        return self._judge(entry, header)

    def _header(self, entry: _Entry) -> Header | None:
        for source in self._sources:
            with suppress(NotFound):
                if header := source(entry):
                    return header
        return None


def inversion_misfit(inversion: TextualInversion, header: Header) -> str | None:
    """Why a file is not the textual inversion that its entry says."""
    form = inversion_form(header.tensors)
    if form is None or form.family != inversion.family:
        made_for = form.family if form and form.family else "no family of the farm"
        return f"its vectors are for {made_for}, not for {inversion.family}; {_AGAIN}"
    if form.vectors != inversion.vectors:
        return f"its file has {form.vectors} vectors, its entry says {inversion.vectors}; {_AGAIN}"
    return None


def upscaler_misfit(upscaler: Upscaler, header: Header) -> str | None:
    """Why a file is not the upscaler that its entry says."""
    form = upscaler_form(header.tensors)
    if form is None:
        return f"its file is no upscaler that nodes can load; {_AGAIN}"
    if (form.architecture, form.scale) != (upscaler.architecture, upscaler.scale):
        says = f"its entry says {upscaler.scale} times ({upscaler.architecture})"
        return f"its file enlarges {form.scale} times ({form.architecture}), {says}; {_AGAIN}"
    return None
