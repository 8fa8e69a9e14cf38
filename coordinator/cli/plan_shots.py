"""The resolved shots of a plan: written to a file, printed, or listed by name."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from common.catalog.compatibility import NO_UPSCALER
from common.errors import Invalid, Unavailable
from common.shot import PlannedShot, Shot
from common.units import format_size
from coordinator.cli.show import out
from coordinator.expand import Expansion
from coordinator.submission.plan import PlanReport

#: The columns of each shot, in this order.
KEYS = (
    *("name", "group", "prompt", "negative", "seed", "width", "height", "steps", "guidance", "sampler"),
    *("loras", "upscale"),
)


class ShownPlan(PlanReport):
    """Printed by `farm plan --json` if shots are requested as well."""

    shots: tuple[dict[str, Any], ...] | None = None
    names: tuple[str, ...] | None = None


def resolved(planned: PlannedShot) -> dict[str, Any]:
    """Returns the resolved settings of a shot by `KEYS`; LoRAs have the form of a manifest."""
    shot = planned.shot
    values = (shot.prompt, shot.negative, shot.seed, shot.width, shot.height, shot.steps, shot.guidance)
    return dict(
        zip(
            KEYS,
            (planned.name, planned.group, *values, shot.sampler, _loras(shot), _upscale(shot)),
            strict=True,
        )
    )


def _upscale(shot: Shot) -> str:
    return shot.upscaler.name if shot.upscaler else NO_UPSCALER


def chosen(expansion: Expansion, first: int | None, spread: int | None) -> Iterator[PlannedShot]:
    """Yields the `first` shots, or `spread` shots at regular intervals, or all if both are None."""
    if spread is not None:
        last = len(expansion) - 1
        numbers = {last * part // max(1, spread - 1) for part in range(spread)} if last >= 0 else ()
        return (expansion[number] for number in sorted(numbers))
    return expansion.shots(0, len(expansion) if first is None else first)


def show_shots(shots: Iterable[PlannedShot]) -> None:
    """Print each shot with all of its settings."""
    for planned in shots:
        shot = planned.shot
        knobs = [f"{name} {value:g}" for name, value in shot.knobs]
        settings = f"guidance {shot.guidance:g}", shot.sampler, *_loras(shot), *knobs
        size = format_size(shot.width, shot.height)
        if shot.upscaler:
            size += f" → {format_size(*shot.final_size)} ({shot.upscaler.name})"
        facts = f"seed {shot.seed}", size, f"{shot.steps} steps", *settings, shot.model
        out.print("")
        out.say((planned.name, "bold"))
        out.say(f"  {shot.prompt}")
        if shot.negative:
            out.say(f"  without: {shot.negative}")
        out.say((f"  {', '.join(facts)}", "dim"))


def check_file(file: Path) -> None:
    """Raises Invalid if the file exists and is not an earlier plan, which may be replaced."""
    if file.suffix.lower() not in _WRITERS:
        raise Invalid(f"--out {file}: the file name must end with .json or .csv")
    if not file.parent.is_dir():
        raise Invalid(f"--out {file}: the folder {file.parent} does not exist; create it, or choose another")
    if file.is_dir() or (file.exists() and not _is_plan(file)):
        what = "is a folder" if file.is_dir() else "exists and was not written by `farm plan`"
        raise Invalid(f"--out {file}: {what}; choose another name")


def write_shots(shots: Iterable[PlannedShot], file: Path) -> None:
    """Write the shots one by one to a file that appears only once it is complete.

    Raises Unavailable if writing fails.
    """
    draft = file.with_name(f".{file.name}.part")
    write, encoding = _WRITERS[file.suffix.lower()]
    try:
        with draft.open("w", encoding=encoding, newline="") as stream:
            write(shots, stream)
        draft.replace(file)
    except OSError as error:
        raise Unavailable(f"{file} cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _json(shots: Iterable[PlannedShot], stream: TextIO) -> None:
    between = "[\n"
    for planned in shots:
        stream.write(f"{between}{json.dumps(resolved(planned), ensure_ascii=False)}")
        between = ",\n"
    stream.write("\n]\n" if between == ",\n" else "[]\n")


def _csv(shots: Iterable[PlannedShot], stream: TextIO) -> None:
    rows = csv.writer(stream)
    rows.writerow(KEYS)
    for planned in shots:
        *cells, loras, upscale = resolved(planned).values()
        rows.writerow((*cells, " + ".join(loras), upscale))


#: Writer and encoding by extension. Spreadsheets recognise UTF-8 only by its byte order mark.
_WRITERS: dict[str, tuple[Callable[[Iterable[PlannedShot], TextIO], None], str]] = {
    ".json": (_json, "utf-8"),
    ".csv": (_csv, "utf-8-sig"),
}


def _is_plan(file: Path) -> bool:
    """Returns whether a file is empty or begins like a plan written here."""
    begins = {".json": '[\n{"name": ', ".csv": ",".join(KEYS)}[file.suffix.lower()]
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            found = stream.read(len(begins))
    except (OSError, UnicodeDecodeError):
        return False
    return found in ("", begins)


def _loras(shot: Shot) -> Sequence[str]:
    return [use.weighted_name for use in shot.loras]
