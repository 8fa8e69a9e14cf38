"""The node's side of its engine: starts it, talks to it, notices its silence and kills it."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from common.embeddings import EmbeddedText
from gpu_node import protocol, sandbox, system
from gpu_node.errors import RenderError

log = logging.getLogger(__name__)

#: Who keeps an engine from running.
Holder = Literal["farm", "owner"]

#: Seconds in which an engine that is asked to end does so.
_END_S = 5.0
#: Seconds in which one that is killed has given back all it held, however much.
_DEATH_S = 30.0
#: Last words of one that ended for want of memory instead of saying so.
_OUT_OF_MEMORY = ("bad_alloc", "MemoryError")
#: Nothing is fetched, code least of all.
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "DIFFUSERS_GGUF_CUDA_KERNELS": "false"}


class EngineClient:
    """One engine at a time. Not for use by several threads at once, except `kill`, `suspend` and `resume`.

    `home` receives the engine's log, its memory of file hashes and what it compiles; images go to `spool`.
    `pipelines` are the diffusers classes that commands will likely name; `environment` is the engine's beside
    what of this process' holds no credentials. The engine `confines` itself where the system lets it, and
    then reads nothing in `hidden` files and folders.
    """

    def __init__(
        self,
        *,
        device: str,
        threads: int,
        home: Path,
        pipelines: Collection[str] = (),
        environment: Mapping[str, str] | None = None,
        hidden: Sequence[Path] = (),
        confines: bool = True,
    ) -> None:
        self.spool = home / "spool"
        self._arguments = ["--device", device, "--threads", str(threads)]
        self._arguments += [f"--pipeline={name}" for name in pipelines]
        self._arguments += ["--spool", str(self.spool), "--hashes", str(home / "hashes.json")]
        self._arguments += [f"--hide={file}" for file in hidden] if confines else ["--unconfined"]
        #: Why the last engine was not confined, where it was not.
        self.unconfined = ""
        compiler = {
            # What was compiled survives the engine, and the node.
            "TORCHINDUCTOR_CACHE_DIR": str(home / "compiled"),
            # A pool of processes for each engine would take more than its share of the machine.
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
        }
        own = sandbox.clean_environment(os.environ)
        self._environment = {**own, **_ENVIRONMENT, **compiler, **(environment or {})}
        self._log = home / "engine.log"
        self._process: subprocess.Popen[str] | None = None
        #: Kind and message of what is raised without one.
        self._absent = "engine_died", "the engine was not started"
        self._commands: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[protocol.Event | None] = queue.SimpleQueue()
        self._heard_at = time.monotonic()
        #: Whoever starts or ends it.
        self._lock = threading.RLock()
        self._held_by: set[Holder] = set()
        #: The model it holds; None after a start, a death or a failed load.
        self.held: protocol.Load | None = None
        #: The texts that it knows, as long as it holds the same.
        self.texts: frozenset[EmbeddedText] = frozenset()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that killed it."""
        return self._process.poll() if self._process is not None else None

    @property
    def suspended(self) -> bool:
        return bool(self._held_by)

    @property
    def silent_s(self) -> float:
        """Seconds since the engine's last sign of life, or since its last command."""
        return time.monotonic() - self._heard_at

    def start(self) -> None:
        """Start the engine unless it runs or is suspended. It is ready once `Ready` arrives.

        Where that fails, whoever sends a command hears why.
        """
        with self._lock:
            running = self._process is not None and self.exit_code is None
            if not running and not self.suspended:
                try:
                    self._start()
                except OSError as error:
                    kind = "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "engine_died"
                    self._process, self._absent = None, (kind, f"the engine cannot be started: {error}")

    def _start(self) -> None:
        self.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.held = None
        self._commands.put(None)
        self._commands = queue.SimpleQueue()
        self._events = queue.SimpleQueue()
        self._heard_at = time.monotonic()
        # The engine before it may have put a link there.
        self._log.unlink(missing_ok=True)
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gpu_node.engine", *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                text=True,
                encoding="utf-8",
                # A terminal's Ctrl-C is the node's alone; it decides when its engine ends.
                **system.own_group(),
            )
        for name, work, lines in (
            ("commands", _send_commands, self._commands),
            ("events", _listen, self._events),
        ):
            threading.Thread(
                target=work, args=(self._process, lines), name=f"engine-{name}", daemon=True
            ).start()

    def send(self, command: protocol.Command) -> None:
        """Never waits; an engine that does not read it is silent, or dead. Raises RenderError without one."""
        if self._process is None:
            raise RenderError(*self._absent)
        self._heard_at = time.monotonic()
        self._commands.put(command.model_dump_json() + "\n")

    def event(self, timeout_s: float) -> protocol.Event | None:
        """The engine's next event; None when none came in time. Raises RenderError where it is dead."""
        if self._process is None:
            raise RenderError(*self._absent)
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if event is None:
            # Whoever asks again hears the same.
            self._events.put(None)
            raise self._death()
        self._heard_at = time.monotonic()
        if isinstance(event, protocol.Ready):
            self._note_confinement(event.unconfined)
        return event

    def kill(self) -> None:
        """End the engine at once; all it held is free when this returns.

        Raises RenderError `device_lost` where the driver does not let go of it; it is forgotten then.
        """
        with self._lock:
            self.held = None
            if self._process is None:
                return
            self._process.kill()
            self._commands.put(None)
            try:
                self._process.wait(_DEATH_S)
            except subprocess.TimeoutExpired:
                message = (
                    f"the engine (process {self.pid}) hangs in the driver of its card: restart this machine"
                )
                self._process, self._absent = None, ("device_lost", message)
                raise RenderError(*self._absent) from None

    def suspend(self, by: Holder = "farm") -> bool:
        """Run no engine until whoever suspended it resumes it; the card is free when this returns.

        False where it was suspended by the same before.
        """
        with self._lock:
            was = by in self._held_by
            self._held_by.add(by)
            self.kill()
        return not was

    def resume(self, by: Holder = "farm") -> bool:
        """Start the engine unless another suspends it too; whether it was suspended by this one."""
        with self._lock:
            was = by in self._held_by
            self._held_by.discard(by)
            if was:
                self.start()
        return was

    def clear_spool(self) -> None:
        """Forget images that nobody will ask for, such as those of a lost batch."""
        with contextlib.suppress(OSError):
            for file in self.spool.glob("*"):
                file.unlink(missing_ok=True)

    def stop(self) -> None:
        """End an engine that has nothing to do."""
        if self._process is None:
            return
        self.held = None
        self._commands.put(None)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(RenderError):
                self.kill()

    def _note_confinement(self, unconfined: str) -> None:
        if unconfined and unconfined != self.unconfined:
            log.warning("engines are not confined, and have a network: %s", unconfined)
        self.unconfined = unconfined

    def _death(self) -> RenderError:
        self.kill()
        code = self.exit_code or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        try:
            output = system.read_carefully(self._log).decode(errors="replace")
        except OSError:
            output = ""
        last = output.strip().splitlines()[-1:]
        last_output = f"; last output: {last[0]}" if last else ""
        kind = "out_of_memory" if any(words in last_output for words in _OUT_OF_MEMORY) else "engine_died"
        return RenderError(kind, f"the engine {how}{last_output} (log: {self._log})")


def _send_commands(process: subprocess.Popen[str], commands: queue.SimpleQueue[str | None]) -> None:
    """Write each command to the process until None; then its stdin closes, and it ends."""
    assert process.stdin is not None
    # One that died reads no more, and is known by its other end.
    with contextlib.suppress(OSError), process.stdin:
        for line in iter(commands.get, None):
            process.stdin.write(line)
            process.stdin.flush()


def _listen(process: subprocess.Popen[str], events: queue.SimpleQueue[protocol.Event | None]) -> None:
    """Put each event of the process into the queue, then None."""
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            try:
                events.put(protocol.EVENT.validate_json(line))
            except ValidationError:
                break
    events.put(None)
