"""Whoever tests, pytest or a program of its own, imports this first."""

from __future__ import annotations

import signal


def _start_children_with_default_handlers() -> None:
    """A process inherits which signals are ignored, as `nohup` and a shell's `&` do, but no handlers.

    Here they go on being ignored: by a handler.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


_start_children_with_default_handlers()
