"""`farm-node`: lend a card to a farm."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler

from common.catalog import Catalog, build_catalog, load_catalog
from common.commandline import Command, ModelFolders, command_line, run_command_line
from common.errors import FarmError, Invalid, NotFound, Unavailable
from common.invitations import Invitation
from common.nodes import LAST_PASS_S
from common.settings import Settings, load_settings
from common.terminal import LogFormatter, err, out
from common.transfers import transfer
from common.units import GIB
from gpu_node import service
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.node import Node
from gpu_node.assemble import NodeOptions, assembled, first_run, is_owned, node_key, owned
from gpu_node.cache import ModelCache
from gpu_node.credentials import Credentials, identity_file, read_identity
from gpu_node.doctor import Finding, examine
from gpu_node.identity import Hashes
from gpu_node.library import Library
from gpu_node.local_page import page_link
from gpu_node.options import (
    CardFile,
    Compiles,
    Farm,
    Gpu,
    Home,
    Invite,
    Key,
    Lanes,
    LastPass,
    Measure,
    ModelCacheFolder,
    ModelDisk,
    Moved,
    NodeName,
    Owner,
    Threads,
    WhoPays,
    Yes,
    host_name,
    joined_name,
    node_home,
)
from gpu_node.owner_settings import LENT, owner_file, read_owner_settings, write_owner_settings
from gpu_node.probe import Probe, find_probe
from gpu_node.questions import ask_owner
from gpu_node.readings import hand_file
from gpu_node.service_commands import (
    given_options,
    restart_service,
    service_app,
    start_service,
    wants_service,
)
from gpu_node.status import read_status, status_lines

_AT_ONCE = 130
#: Seconds of computing in which a node with a card measures its recipes.
_MEASURE_S = 60.0
#: For models that are fetched, unless the owner of the card says otherwise.
_DISK_GIB = 60.0

app = command_line(
    "farm-node",
    about="Run the GPU of this machine as a node of a farm: take work, render it and upload the images.",
)
app.add_typer(service_app, name="service")


class _Place(NamedTuple):
    """Where a node is at home, and which farm it is one of."""

    name: str
    home: Path
    farm: str
    #: Of the key of its server; empty: whoever certificates say it is.
    pin: str


@app.command("run", cls=Command)
def run_command(
    context: typer.Context,
    farm: Farm = None,
    invite: Invite = None,
    key: Key = None,
    name: NodeName = None,
    card: CardFile = None,
    gpu: Gpu = 0,
    models: ModelFolders = None,
    model_cache: ModelCacheFolder = None,
    model_disk: ModelDisk = None,
    lane: Lanes = None,
    owner: Owner = "farm",
    terms: WhoPays = "owned",
    threads: Threads = None,
    measure: Measure = None,
    last_pass: LastPass = LAST_PASS_S,
    compile_: Compiles = True,
    home: Home = None,
    moved: Moved = False,
    yes: Yes = False,
) -> None:
    """Join the farm and render until Ctrl-C.

    At its first start a node needs an invitation, or the node key of the farm. It then has a key of its own
    in its --home, and the options may stay as they are. With an invitation, it asks five questions about when
    the card is lent, and writes the answers to `owner.yaml` there. It then renders known images, fetches the
    smallest model of the farm, says how many images the card would render in an hour, and asks whether it
    should run as a service.

    The first Ctrl-C finishes the running pass and returns the rest of the batch to the farm; the second
    also returns the running pass. If the farm does not answer, the node keeps trying to connect.

    Examples: `farm-node run --invite LINE --models ~/models` ·
    `farm-node run --farm http://192.168.1.10:8080 --key node.key`
    """
    settings = load_settings()
    place = _place(farm, invite, name, home, settings)
    asked = _ask_owner(place.home, asks=invite is not None, yes=yes)
    probe = find_probe(card, gpu)
    options = NodeOptions(
        name=place.name,
        farm=place.farm,
        pin=place.pin,
        moved=moved,
        secret=node_key(key) if invite is None else invite.secret,
        home=place.home,
        key_files=(key.absolute(),) if key is not None else (),
        models=_folders(models, settings),
        cache=_cache(model_cache, model_disk, settings, place.home),
        lanes=tuple(lane or ("public",)),
        owner=owner,
        terms=terms,
        threads=threads,
        measure_s=(_MEASURE_S if card is None else 0.0) if measure is None else measure,
        last_pass_s=last_pass,
        compiles=compile_,
    )
    if invite is not None and service.can_restart(place.name):
        restart_service(options)
    elif not _worked(options, probe, is_first=invite is not None, asked=asked):
        start_service(place.name, given_options(context), settings)


def _worked(options: NodeOptions, probe: Probe, *, is_first: bool, asked: bool) -> bool:
    """Run the node until it is stopped; False if its owner wants it to be a service instead."""
    _log_to_terminal()
    _on_signals(lambda: sys.exit(0))  # there is nothing to hand back yet
    with assembled(options, probe) as node:
        untried = options.home / "untried"
        if options.measure_s > 0 and (is_first or untried.exists()):
            # A card that failed is not let in by the next start.
            untried.touch()
            first_run(node, transfer, out.say).run()
            untried.unlink()
        if asked and wants_service():
            return False
        _stop_on_signals(node)
        node.run()
    return True


@app.command("pause", cls=Command)
def pause_command(farm: Farm = None, name: NodeName = None, home: Home = None) -> None:
    """Release the GPU; the node takes no work until `farm-node resume`.

    The running batch returns to the backlog without failed attempts. Run it as the user who runs the node,
    with the same --name or --home: the key of the node is there.

    Example: `farm-node pause`
    """
    with _as_node(farm, name, home) as (coordinator, node, folder):
        hand_file(folder).touch()
        told = ""
        try:
            coordinator.pause(node)
        except FarmError as error:
            told = f"; the farm could not be told ({error})"
    out.say(f"paused; run `farm-node resume` to continue{told}")


@app.command("resume", cls=Command)
def resume_command(farm: Farm = None, name: NodeName = None, home: Home = None) -> None:
    """Resume work after `farm-node pause`; a pause by the settings of the owner ends by itself.

    Example: `farm-node resume`
    """
    with _as_node(farm, name, home) as (coordinator, node, folder):
        status = read_status(folder)
        if status is not None and status.paused and not hand_file(folder).exists():
            out.say(f"still paused: {status.paused}")
            return
        told = ""
        try:
            coordinator.resume(node)
        except Unavailable as error:
            told = f"; the farm could not be told ({error}), and hears it from the node"
        finally:
            hand_file(folder).unlink(missing_ok=True)
    out.say(f"resumed{told}")


@app.command("status", cls=Command)
def status_command(
    name: NodeName = None,
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show what the node does and for whom, why it is paused, and what it did today.

    Example: `farm-node status`
    """
    settings = load_settings()
    folder = node_home(home, name or joined_name(settings), settings)
    status = read_status(folder)
    if status is None:
        raise NotFound(f"no node has run from {folder}: pass the --name or --home of the node")
    runs = is_owned(folder)
    page = page_link(folder) if runs else None
    if as_json:
        typer.echo(json.dumps({"runs": runs, "page": page, **status.model_dump(mode="json")}, indent=2))
        return
    for line in status_lines(status, runs=runs):
        out.say(line)
    if page is not None:
        out.say(f"its page: {page}")


@app.command("rotate", cls=Command)
def rotate_command(farm: Farm = None, name: NodeName = None, home: Home = None) -> None:
    """Replace the key of the node; the old one is never valid again. A running node goes on.

    Example: `farm-node rotate`
    """
    with _as_node(farm, name, home) as (coordinator, node, _):
        coordinator.rotate_key(node)
    out.say("the node has a new key")


@app.command("leave", cls=Command)
def leave_command(farm: Farm = None, name: NodeName = None, home: Home = None) -> None:
    """Take the node off the farm for good, and delete its key and service; without a connection, too.

    Stop the node first, unless it is a service. To join again it needs a new invitation, or the node key of
    the farm.

    Example: `farm-node leave`
    """
    settings = load_settings()
    folder = node_home(home, name or joined_name(settings), settings)
    if not identity_file(folder).exists():
        raise NotFound(f"no node has joined from {folder}: pass the --name or --home of the node")
    service.remove(name or joined_name(settings))
    with owned(folder, f"the node of {folder} runs: stop it first"):
        told = "the farm knows"
        try:
            with _as_node(farm, name, home) as (coordinator, node, _):
                coordinator.end_key(node)
        except FarmError as error:
            told = f"the farm could not be told ({error}): its operator can run `farm node remove`"
        identity_file(folder).unlink()
    out.say(f"the key of the node is deleted; {told}")


@app.command("doctor", cls=Command)
def doctor_command(
    farm: Annotated[
        str, typer.Option("--farm", metavar="URL", help="Also check the connection to this farm.")
    ] = "",
    key: Key = None,
    name: NodeName = None,
    card: CardFile = None,
    gpu: Gpu = 0,
    models: ModelFolders = None,
    model_cache: ModelCacheFolder = None,
    model_disk: ModelDisk = None,
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Check whether this machine can render for a farm. Exit code 1 if a check fails.

    Without a card, everything else is checked. The models are those of the farm's catalog; without --farm,
    those of the built-in catalog and of `catalogs` in the settings. Models that catalog files in the settings
    add or change must be there.

    Examples: `farm-node doctor --models ~/models` · `farm-node doctor --card gtx-1070.yaml --json`
    """
    settings = load_settings()
    folder = node_home(home, name or joined_name(settings), settings)
    joined = read_identity(folder)
    shipped, here = load_catalog().models, load_catalog(settings.catalog_files).models
    own = [name for name, model in here.items() if shipped.get(name) != model]
    secret = node_key(key)
    findings = []
    with ExitStack() as parts:
        # Whoever has not joined it yet may look with the node key.
        pin = joined.pin if joined is not None and joined.farm == farm else ""
        known = joined is not None and joined.is_for(farm, pin)
        credentials = Credentials(folder, farm, pin=pin) if known else None
        coordinator = parts.enter_context(Coordinator(farm, secret, credentials, pin=pin)) if farm else None
        catalog, files = _served(settings, coordinator)
        named = (*(models or ()), *settings.models)
        cache = _cache(model_cache, model_disk, settings, folder)
        library = Library(catalog, _folders(models, settings), Hashes(folder / "hashes.json"), cache, files)
        for finding in examine(
            lambda: find_probe(card, gpu), library, coordinator, home=folder, folders=named, expected=own
        ):
            findings.append(finding)
            if not as_json:
                _print_finding(finding)
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


@contextmanager
def _as_node(
    farm: str | None, name: str | None, home: Path | None
) -> Iterator[tuple[Coordinator, str, Path]]:
    """Calls of the node at home there, its name and the folder. Raises NotFound where none has joined."""
    settings = load_settings()
    folder = node_home(home, name or joined_name(settings), settings)
    identity = read_identity(folder)
    if identity is None:
        raise NotFound(f"no node has joined from {folder}: pass the --name or --home of the node")
    url = farm or identity.farm
    pin = identity.pin if url == identity.farm else ""
    credentials = Credentials(folder, url, pin=pin)
    with closing(Coordinator(url, credentials=credentials, pin=pin)) as coordinator:
        yield coordinator, identity.node, folder


def _place(
    farm: str | None, invite: Invitation | None, name: str | None, home: Path | None, settings: Settings
) -> _Place:
    """Raises Invalid where no farm is given and none was joined."""
    named = name or (invite.name if invite is not None else None)
    # Whoever names a farm means another node than one that has joined already.
    name = named or (joined_name(settings) if farm is None and invite is None else host_name())
    folder = node_home(home, name, settings)
    joined = read_identity(folder)
    url = (
        farm or (invite.farm if invite is not None else None) or (joined.farm if joined is not None else None)
    )
    if url is None:
        raise Invalid(
            "which farm? Pass --invite with the line that its operator gives you, or --farm with its URL"
        )
    pins = {known.farm: known.pin for known in (joined, invite) if known is not None}
    return _Place(name, folder, url, pins.get(url, ""))


def _print_finding(finding: Finding) -> None:
    mark = ("ok  ", "green") if finding.good else ("no  ", "red")
    out.say(mark, (f"{finding.subject:9}", "bold"), finding.sentence)


def main() -> None:
    run_command_line(app)


def _served(settings: Settings, coordinator: Coordinator | None) -> tuple[Catalog, dict[str, int]]:
    """The farm's catalog and files; where there is no farm, or it does not answer, this machine's catalog."""
    if coordinator is not None:
        with suppress(FarmError):  # a later check says so
            served = coordinator.catalog()
            return build_catalog(served), served.files
    return load_catalog(settings.catalog_files), {}


def _ask_owner(home: Path, *, asks: bool, yes: bool) -> bool:
    """Have settings of the owner, unless there are some: by questions in a terminal, or those of Enter.

    Returns whether questions were asked.
    """
    if owner_file(home).exists() or not (yes or (asks and sys.stdin.isatty())):
        return False
    try:
        allowed = LENT if yes else ask_owner(input, lambda why: err.say(why, style="yellow"))
    except EOFError:
        raise Invalid("the questions were not answered: run it again, or pass --yes") from None
    file = write_owner_settings(home, allowed)
    err.say(f"wrote {file}: edit it at any time", style="dim")
    return not yes


def _cache(folder: Path | None, disk_gib: float | None, settings: Settings, home: Path) -> ModelCache:
    if disk_gib is None:
        allowed = read_owner_settings(home).disk_gib
        disk_gib = _DISK_GIB if allowed is None else allowed
    return ModelCache((folder or settings.home / "model-cache").absolute(), round(disk_gib * GIB))


def _folders(models: list[Path] | None, settings: Settings) -> tuple[Path, ...]:
    return (*(models or ()), *settings.model_folders)


def _log_to_terminal() -> None:
    handler = RichHandler(
        console=err,
        show_path=False,
        show_level=False,
        log_time_format="%H:%M:%S",
        highlighter=NullHighlighter(),
        keywords=[],
    )
    handler.addFilter(_without_traceback)
    handler.setFormatter(LogFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("gpu_node").setLevel(logging.INFO)


def _without_traceback(record: logging.LogRecord) -> bool:
    """Celery logs one with its sentence where its worker ends by an error."""
    record.exc_info = None
    return True


def _stop_on_signals(node: Node) -> None:
    """The first signal stops the node in good order, the second without its running pass, a third at once.

    The engine ends with its parent.
    """

    def stop() -> None:
        _on_signals(give_up)
        err.say("stopping after the running pass; press Ctrl-C again to return it unfinished", style="dim")
        _beside(node.stop)

    def give_up() -> None:
        _on_signals(lambda: os._exit(_AT_ONCE))
        err.say("returning the running pass; press Ctrl-C again to exit immediately", style="dim")
        _beside(node.give_up)

    _on_signals(stop)


def _beside(work: Callable[[], None]) -> None:
    """On a thread: the handler interrupts the main one, which may hold what the work needs."""
    threading.Thread(target=work, daemon=True).start()


def _on_signals(act: Callable[[], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: act())


if __name__ == "__main__":
    main()
