"""Judges textual inversions by the headers of their files: those in the store, or on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from common.catalog import TextualInversion
from common.errors import Invalid, Misconfigured, NotFound, Unavailable
from common.weights import Header
from common.weights.textual_inversion import inversion_form

#: Header of a file; None where it is not there.
Source = Callable[[TextualInversion], Header | None]


class InversionFiles:
    """Remembers which files are right."""

    def __init__(self, sources: Iterable[Source], *, must_have: bool) -> None:
        """`must_have`: nodes fetch the files from these sources, so that they must be there."""
        self._sources = tuple(sources)
        self._must_have = must_have
        self._right: set[TextualInversion] = set()

    def misfit(self, inversion: TextualInversion) -> str | None:
        """Why the file is not what the entry says, and what mends it; None where nothing is known to be
        wrong.
        """
        if inversion in self._right:
            return None
        # A store that does not answer is no reason to refuse a manifest.
        with suppress(Unavailable, Misconfigured, OSError):
            why = self._why(inversion)
            if why is None:
                self._right.add(inversion)
            return why
        return None

    def _why(self, inversion: TextualInversion) -> str | None:
        try:
            header = self._header(inversion)
        except Invalid as error:
            return f"its file cannot be read: {error}"
        if header is None:
            missing = f"the store has no file of it; run `farm models publish {inversion.name}`"
            return missing if self._must_have else None
        form = inversion_form(header.tensors)
        again = "add it again with `farm models add`"
        if form is None or form.family != inversion.family:
            made_for = form.family if form and form.family else "no family of the farm"
            return f"its vectors are for {made_for}, not for {inversion.family}; {again}"
        if form.vectors != inversion.vectors:
            return f"its file has {form.vectors} vectors, its entry says {inversion.vectors}; {again}"
        return None

    def _header(self, inversion: TextualInversion) -> Header | None:
        for source in self._sources:
            with suppress(NotFound):
                if header := source(inversion):
                    return header
        return None
