"""Measurements: speeds of nodes; and by type of card, memory ceilings and peaks, and the pace of recipes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, delete, select

from common.fit import Peak, Seen
from common.nodes import Card
from common.views import MemoryView
from coordinator.ledger.database import upsert, upsert_all
from coordinator.ledger.schema import ceilings, loads, paces, peaks, speeds, works
from coordinator.ledger.specs import shot_of
from coordinator.ledger.transactions import Write
from coordinator.ledger.waiting import samples
from coordinator.scheduling.changes import (
    LimitsLifted,
    LoadMeasured,
    PassLimited,
    PassMeasured,
    RecipeTimed,
    SpeedMeasured,
)
from coordinator.scheduling.placing import Placement
from coordinator.scheduling.trials import MeasuredTrial
from coordinator.scheduling.work import Size, WorkSample

#: Weight of the newest image, and of the newest load, in the moving average.
_NEWEST, _NEWEST_LOAD = 0.2, 0.5


#: Share by which a pace must differ from the known one to be recorded.
_SAME = 0.05


class Pace(NamedTuple):
    """The time of one image."""

    node_id: str
    model: str
    #: Seconds per megapixel-forward of a plain image.
    seconds: float


def learn(write: Write, paces: Sequence[Pace]) -> None:
    """Update the average speeds of nodes and models with these images, in this order."""
    # What this transaction has measured so far is not in memory yet.
    before = {one[:2]: one.seconds for one in write.changes if isinstance(one, SpeedMeasured)}
    averages: dict[tuple[str, str], float] = {}
    for node_id, model, seconds in paces:
        if seconds:
            of = node_id, model
            known = (
                averages.get(of) or before.get(of) or write.backlog.known(node_id).speeds.get(model, seconds)
            )
            averages[of] = known + _NEWEST * (seconds - known)
    measured = [SpeedMeasured(*key, average) for key, average in averages.items()]
    upsert_all(write.connection, speeds, ("node_id", "model"), [one._asdict() for one in measured])
    write.changes += measured


def learn_load(write: Write, node_id: str, model: str, seconds: float) -> None:
    """Update the average time that loading a model takes a node."""
    known = write.backlog.known(node_id).loads.get(model, seconds)
    average = known + _NEWEST_LOAD * (seconds - known)
    upsert(write.connection, loads, {"node_id": node_id, "model": model}, seconds=average)
    write.changes.append(LoadMeasured(node_id, model, average))


#: Seconds after which a ceiling expires, because another program may have used the memory.
CEILING_S = 24 * 3600.0


def recall_types(write: Write) -> None:
    """Load all ceilings, peaks and paces into a new backlog."""
    for row in write.connection.execute(select(ceilings)):
        write.changes.append(PassLimited(row.card_type, row.work_key, row.recipe, row.images))
    for row in write.connection.execute(select(peaks)):
        size, peak = (row.model, row.width, row.height), Peak(row.forwards, row.bytes)
        write.changes.append(PassMeasured(row.card_type, size, row.recipe, peak))
    for row in write.connection.execute(select(paces)):
        write.changes.append(RecipeTimed(row.card_type, row.model, row.recipe, row.seconds))


def note_trials(write: Write, node_id: str, trials: Sequence[MeasuredTrial]) -> None:
    """Record what an idle node measured: for all cards of its type, and as its own speed if none is known."""
    node = write.backlog.known(node_id)
    for trial in trials:
        model, width, height = trial.size
        known = write.backlog.paces.get((node.card.type, model), {}).get(trial.recipe)
        if known is None or abs(trial.seconds - known) > _SAME * known:
            timed = RecipeTimed(node.card.type, model, trial.recipe, trial.seconds)
            row = {"card_type": timed.card_type, "model": model, "recipe": trial.recipe}
            upsert(write.connection, paces, row, seconds=trial.seconds, width=width, height=height)
            write.changes.append(timed)
    _keep_peaks(write, ((node.card.type, one.size, one.recipe, one.peak) for one in trials if one.peak))
    by_speed = sorted(trials, key=lambda trial: trial.seconds, reverse=True)
    fastest = {trial.size[0]: trial.seconds / trial.shape for trial in by_speed}
    # Images tell more than trials.
    learn(write, [Pace(node_id, model, s) for model, s in fastest.items() if model not in node.speeds])


def note_out_of_memory(write: Write, card: Card, work_key: str, recipe: str, images: int) -> bool:
    """Record that a pass of `images` ran out of memory; returns whether such cards can still take the work.

    Later passes are half as large; if a single image ran out of memory, the next recipe is used.
    """
    work = _sample(write, work_key)
    seen = _seen(write, card, work_key, work)
    most = min(images // 2, seen.ceilings.get(recipe, images))
    named = {"card_type": card.type, "work_key": work_key, "recipe": recipe}
    upsert(write.connection, ceilings, named, images=most, at=write.now)
    # Waiting shots fit with smaller passes or another recipe, so waiting claims are evaluated again.
    write.changes.append(PassLimited(card.type, work_key, recipe, most))
    lower = replace(seen, ceilings={**seen.ceilings, recipe: most})
    return isinstance(write.backlog.place(work.shot, card, lower), Placement)


def _seen(write: Write, card: Card, work_key: str, work: WorkSample) -> Seen:
    """What is known of such cards, with the ceilings that this transaction has noted so far."""
    seen = write.backlog.seen(card, work_key, work)
    noted = [one for one in write.changes if isinstance(one, PassLimited)]
    own = {one.recipe: one.images for one in noted if one[:2] == (card.type, work_key)}
    return replace(seen, ceilings={**seen.ceilings, **own})


class Held(NamedTuple):
    """The peak memory of a pass."""

    card: Card
    work_key: str
    recipe: str
    images: int
    bytes: int


def note_peaks(write: Write, passes: Iterable[Held]) -> None:
    """Record peaks of passes that exceed the known ones."""

    def seen() -> Iterator[_TypedPeak]:
        for card, work_key, recipe, images, held in passes:
            work = _sample(write, work_key)
            yield card.type, work.size, recipe, Peak(images * work.forwards, held)

    _keep_peaks(write, seen())


#: Type of card, size, recipe and peak.
_TypedPeak = tuple[str, Size, str, Peak]


def _keep_peaks(write: Write, peaks_seen: Iterable[_TypedPeak]) -> None:
    found: dict[tuple[str, Size, str], Peak] = {}
    for card_type, size, recipe, peak in peaks_seen:
        kind = card_type, size, recipe
        known = found.get(kind) or write.backlog.peaks.get(kind[:2], {}).get(recipe)
        if known is None or peak > known:
            found[kind] = peak
    for (card_type, size, recipe), peak in found.items():
        model, width, height = size
        named = {"card_type": card_type, "model": model, "width": width, "height": height, "recipe": recipe}
        upsert(write.connection, peaks, named, **peak._asdict())
        write.changes.append(PassMeasured(card_type, size, recipe, peak))


def forget_ceilings(write: Write) -> None:
    """Remove expired ceilings."""
    old = delete(ceilings).where(ceilings.c.at < write.now - CEILING_S)
    key = ceilings.c.card_type, ceilings.c.work_key, ceilings.c.recipe
    limits = [tuple(row) for row in write.connection.execute(old.returning(*key))]
    if limits:
        write.changes.append(LimitsLifted(limits))


def memory_views(connection: Connection, card_type: str | None = None) -> list[MemoryView]:
    """Measured peaks, then paces, then ceilings, of one type of card or of all; without predictions."""
    measured = select(peaks).order_by(peaks.c.card_type, peaks.c.model, peaks.c.recipe)
    timed = select(paces).order_by(paces.c.card_type, paces.c.model, paces.c.seconds)
    ran_out = select(ceilings, works.c.sample).join(works, works.c.key == ceilings.c.work_key)
    if card_type is not None:
        measured = measured.where(peaks.c.card_type == card_type)
        timed = timed.where(paces.c.card_type == card_type)
        ran_out = ran_out.where(ceilings.c.card_type == card_type)
    found = [_view(row, forwards=row.forwards, peak_bytes=row.bytes) for row in connection.execute(measured)]
    found += [_view(row, pace_s=row.seconds) for row in connection.execute(timed)]
    for row in connection.execute(ran_out.order_by(ceilings.c.card_type, ceilings.c.recipe)):
        shot = shot_of(row.sample)
        of = {name: getattr(shot, name) for name in ("model", "width", "height", "guidance")}
        loras = tuple(use.name for use in shot.loras)
        found.append(
            MemoryView(card=row.card_type, recipe=row.recipe, most_images=row.images, loras=loras, **of)
        )
    return found


def _view(row: Row[Any], **measured: float) -> MemoryView:
    """What was measured of a type of card, model, recipe and size."""
    of = {name: getattr(row, name) for name in ("model", "recipe", "width", "height")}
    return MemoryView(card=row.card_type, **of, **measured)


def _sample(write: Write, work_key: str) -> WorkSample:
    known = write.backlog.works.get(work_key)
    return known or samples(write.connection, [work_key])[work_key]
