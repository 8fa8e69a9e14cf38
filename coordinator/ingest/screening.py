"""Screening: the classifiers that a lane orders judge each of its images before others see it.

What cannot be judged is withheld: the operator looks at it.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from common.errors import FarmError, Invalid, NotFound, Unavailable
from common.messages import Screening
from common.model_files import CLASSIFIERS, places_below
from common.storage import MODELS, Store
from common.weights.classifier import MOST_PARAMETERS
from coordinator.ingest.classifier import LoadedClassifier

#: Classifiers that are held in memory.
_HELD = 2
#: Bytes of a file at the most: those of its weights, and its header.
_MOST_BYTES = 4 * MOST_PARAMETERS + 10_000_000


@dataclass(slots=True)
class Screener:
    """Runs classifiers, whose files are in `folders` or in the store. Thread-safe."""

    folders: Sequence[Path]
    store: Store
    #: By the SHA-256 of the file, the one used last at the end.
    _held: OrderedDict[str, LoadedClassifier] = field(default_factory=OrderedDict)
    _loading: threading.Lock = field(default_factory=threading.Lock)

    def withheld(self, picture: Image.Image, screenings: Sequence[Screening]) -> str:
        """Why the picture is withheld, as a sentence without a full stop; empty if it is not.

        Raises Unavailable while the store does not answer.
        """
        found = (self._judged(picture, screening) for screening in screenings)
        return next((why for why in found if why), "")

    def _judged(self, picture: Image.Image, screening: Screening) -> str:
        try:
            scores = self._classifier(screening).scores(picture)
        except Unavailable:  # the store will answer again, and ingest waits for it
            raise
        except (FarmError, MemoryError, ArithmeticError, ValueError) as error:
            return (
                f"{screening.classifier} cannot judge it: {str(error) or 'there is no memory for that'}; "
                f"`farm models check {screening.classifier}` checks its file"
            )
        for label, least in screening.thresholds.items():
            score = scores[label]
            # What is no number marks it, too.
            if not score < least:
                return f"{screening.classifier}: {label} {score:.2f}, withheld from {least:.2f} on"
        return ""

    def _classifier(self, screening: Screening) -> LoadedClassifier:
        """Raises a FarmError or MemoryError where it cannot be loaded."""
        # One at a time: the others wait for the same file, or would need as much memory again.
        with self._loading:
            held = self._held.get(screening.sha256)
            if held is None or held.form != screening.form:
                self._held.pop(screening.sha256, None)
                while len(self._held) >= _HELD:
                    self._held.popitem(last=False)
                held = self._held[screening.sha256] = LoadedClassifier.of(
                    screening.form, self._file(screening)
                )
            self._held.move_to_end(screening.sha256)
            return held

    def _file(self, screening: Screening) -> bytes:
        for place in places_below(Path(screening.path), [folder / CLASSIFIERS for folder in self.folders]):
            if place.is_file() and place.stat().st_size <= _MOST_BYTES:
                data = place.read_bytes()
                if hashlib.sha256(data).hexdigest() == screening.sha256:
                    return data
        try:
            data = self.store.read(MODELS + screening.sha256, limit=_MOST_BYTES)
        except NotFound:
            remedy = f"`farm models publish {screening.classifier}` puts it there"
            raise Invalid(f"its file is neither here nor in the store of the farm; {remedy}") from None
        if hashlib.sha256(data).hexdigest() != screening.sha256:
            raise Invalid("the file in the store of the farm is damaged")
        return data
