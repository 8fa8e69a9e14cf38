"""Work that is done again and again in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from common.errors import FarmError

log = logging.getLogger(__name__)


class Loop:
    """Calls `work` every `period_s`, and at once when woken, but not within `rest_s` of its last round.

    What goes wrong is logged once until it goes right or wrong in another way; it never ends the loop.
    """

    def __init__(
        self, name: str, work: Callable[[], object], *, period_s: float, rest_s: float = 0.0
    ) -> None:
        self._work = work
        self._period_s, self._rest_s = period_s, rest_s
        self._woken, self._stopped = threading.Event(), threading.Event()
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        """Finish the round in hand and end."""
        self._stopped.set()
        self.wake()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._woken.clear()
            self._round()
            if not self._stopped.wait(self._rest_s):
                self._woken.wait(self._period_s - self._rest_s)

    def _round(self) -> None:
        try:
            self._work()
        except FarmError as error:
            self._note(str(error))
        except Exception as error:
            # A thread that dies of a bug would stop the farm in silence.
            self._note(f"{type(error).__name__}: {error}", unexpected=error)
        else:
            if self._trouble:
                log.warning("%s works again", self._thread.name)
            self._trouble = ""

    def _note(self, trouble: str, unexpected: Exception | None = None) -> None:
        if trouble != self._trouble:
            log.error("%s: %s", self._thread.name, trouble, exc_info=unexpected)
        self._trouble = trouble
