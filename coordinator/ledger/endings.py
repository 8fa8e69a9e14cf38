"""The end of a batch, for any reason: unfinished shots wait again, and spent time is charged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Row, Select, select, update

from common.failures import MAX_ATTEMPTS, Blame, Failure
from common.messages import Spent
from common.states import (
    AttemptEvent,
    AttemptState,
    BatchEvent,
    BatchState,
    NodeEvent,
    NodeState,
    ShotState,
)
from common.trust import BAD
from coordinator.ledger.costs import CARD_SECONDS, card_seconds, prefixed, spent_columns, work_charge
from coordinator.ledger.credible import credible, passed
from coordinator.ledger.duplicates import give_back, in_two_batches
from coordinator.ledger.failure_policy import MEMORY, fail_shots, out_of_memory, suspect
from coordinator.ledger.measurements import learn_load
from coordinator.ledger.records import StageTime
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, jobs, nodes, plain, shots
from coordinator.ledger.specs import shot_of
from coordinator.ledger.tallies import tally_batch
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import close_batch, move_attempts, move_node
from coordinator.ledger.trust import blame_node, doubt_node
from coordinator.ledger.usage import add_late_usage
from coordinator.scheduling.changes import BatchEnded
from coordinator.scheduling.member import card_of

#: Outcomes of batches that their node did not close.
_GONE = (BatchEvent.EXPIRED, BatchEvent.VANISHED)
#: Outcomes of batches whose node may not know it yet.
_TAKEN_BACK = (*_GONE, BatchEvent.RELEASED)
#: Phases in which a shot can be the cause of the death of its engine or node.
_SUSPICIOUS = frozenset({"denoise", "decode"})


def end_batch(
    write: Write,
    rules: Rules,
    batch: Row[Any],
    event: BatchEvent,
    *,
    failure: Failure | None = None,
    message: str = "",
    peak_bytes: int | None = None,
    load: Spent | None = None,
    compile_s: float = 0.0,
    spent: Spent | None = None,
) -> None:
    """Close a leased batch, a row of `whole_batch`.

    Unfinished shots wait again without a failed attempt unless `failure` is theirs.
    `peak_bytes` is the memory in use when it ran out; `load` what it spent on loading and encoding ahead,
    with `compile_s` seconds of compiling; `spent` the total of the lease, if its end reported more than its
    heartbeats. All of them are believed as far as the lease lasted.
    """
    rows = _attempts(write, batch.id)
    undone = [row for row in rows if row.state == AttemptState.RUNNING]
    ran = _first_pass(write, [row.shot_id for row in undone[: batch.pass_size]])
    if failure is not None and failure.blame is Blame.OUT_OF_MEMORY and undone:
        begun = [row.shot_id for row in undone[:ran]]
        failure = out_of_memory(write, batch, begun, ran, failure)
    card, passed_s = card_of(batch.card), passed(batch.leased_at, write.now)
    spent = credible(_newest(batch, spent or Spent()), card, passed_s)
    load = load and credible(load, card, passed_s, sum(row.seconds for row in rows))
    spending = _spending(write, rules, batch, load or Spent(), compile_s, spent, rows)
    held = write.backlog.running.get(batch.node_id)
    loading_s = (load.seconds.get("load", 0.0) if load else 0.0) - compile_s
    if held is not None and held.id == batch.id and held.loads_model and loading_s > 0:
        learn_load(write, batch.node_id, batch.model, loading_s)
    kind = failure.kind if failure else ""
    if loading_s > 0:
        write.stages.append(StageTime("load", batch.vram_class, loading_s))
    close_batch(write, batch.id, event, failure=kind, message=message, **spending)
    if event in _TAKEN_BACK:
        write.ordered.add(batch.node_id)
    ended = {"outcome": event.value, "closed_at": write.now}
    tally_batch(write.sums, _with(batch, spending | ended))
    taken_s = spending["load_s"] + spending["lost_s"] + sum(row.seconds for row in rows)
    write.changes.append(
        BatchEnded(batch.id, batch.job_id, batch.node_id, taken_s, batch.max_cost is not None)
    )
    if undone:
        facts = {"message": message, "peak_bytes": peak_bytes}
        died = _died(rules, write.now, event, failure) and not _SUSPICIOUS.isdisjoint(spent.seconds)
        _undo(write, batch, undone, failure, facts, of=len(rows), ran=ran, died=died)
    node_state = NodeState(batch.node_state)
    # A drained node goes offline with the reason of the drain.
    kept = {name: getattr(batch, name) for name in ("reason", "decided_by")}
    kept = kept if node_state is NodeState.DRAINING else {}
    move_node(write, batch.node_id, node_state, NodeEvent.FREED, **kept)
    _judge_node(write, rules, batch, failure, event in _GONE and node_state is NodeState.SELFTEST)


def end_held(write: Write, rules: Rules, node_id: str, event: BatchEvent) -> int:
    """Close the batches that a node still holds but will not report on any more; returns their number."""
    held = batches.c.node_id == node_id, batches.c.state == plain(BatchState.LEASED)
    rows = write.connection.execute(whole_batch().where(*held)).all()
    for batch in rows:
        end_batch(write, rules, batch, event)
    return len(rows)


def account_late(write: Write, rules: Rules, batch_id: str, spent: Spent) -> None:
    """Charge what a node spent on a batch after its lease had ended and before the node learned of it.

    It is believed to have learned of it after the time that an image may take.
    """
    batch = write.connection.execute(whole_batch().where(batches.c.id == batch_id)).one()
    passed_s = passed(batch.leased_at, min(write.now, batch.closed_at + rules.timing.hard_limit_s))
    newest = credible(_newest(batch, spent), card_of(batch.card), passed_s)
    lost = _lost(newest, batch.load_s, batch.load_joules, _attempts(write, batch_id))
    more_s = card_seconds(lost.seconds) - batch.lost_s
    if more_s <= 0:
        # A node repeats the total until it hears that the lease has ended.
        return
    # What was charged stays at the tariff of its hour.
    joules = max(0.0, lost.joules - batch.lost_joules)
    more = lost.model_copy(update={"seconds": {"denoise": more_s}, "joules": joules})
    charge = work_charge(more, batch, rules, write.now)
    money = {f"lost_{name}": getattr(batch, f"lost_{name}") + value for name, value in charge.items()}
    losing = {**spent_columns(newest), "lost_s": batch.lost_s + more_s, **money}
    write.connection.execute(update(batches).where(batches.c.id == batch_id).values(**losing))
    add_late_usage(write, batch_id, more_s)
    tally_batch(write.sums, batch, sign=-1)
    tally_batch(write.sums, _with(batch, losing))
    write.charge(batch.job_id, charge["cost"])


def _judge_node(
    write: Write, rules: Rules, batch: Row[Any], failure: Failure | None, vanished_in_test: bool
) -> None:
    """Blame the node, or act on blame recorded while it held the batch; it holds none now."""
    if vanished_in_test or (failure is not None and failure.blame is Blame.NODE):
        blame_node(write, rules, batch.node_id)
    elif BAD in batch.record:
        doubt_node(write, rules, batch.node_id)


def _attempts(write: Write, batch_id: str) -> Sequence[Row[Any]]:
    """The attempts of a batch in rendering order, with the seconds of the card that were reported of each."""
    columns = (attempts.c[name] for name in ("id", "shot_id", "state", "joules"))
    query: Select[Any] = select(*columns, CARD_SECONDS.label("seconds"))
    mine = query.where(attempts.c.batch_id == batch_id)
    return write.connection.execute(mine.order_by(attempts.c.place)).all()


def _undo(
    write: Write,
    batch: Row[Any],
    undone: Sequence[Row[Any]],
    failure: Failure | None,
    facts: dict[str, Any],
    *,
    of: int,
    ran: int,
    died: bool,
) -> None:
    """Return the unfinished shots of a batch of so many, or fail them; the first `ran` were in its last pass.

    `died`: its engine or node did, in a phase in which a shot can be the cause.
    """
    ids = [row.shot_id for row in undone]
    running = [row.id for row in undone]
    begun, beside = set(ids[:ran]), in_two_batches(write, batch.id, ids)
    alone = [shot_id for shot_id in ids if shot_id not in beside]
    if failure is not None and failure.kind in MEMORY and failure.blame is not Blame.OUT_OF_MEMORY:
        facts |= {"failure": failure.kind}
        tried, running = running[:ran], running[ran:]
        move_attempts(write, tried, AttemptState.RUNNING, AttemptEvent.FAILED, detail=failure.kind, **facts)
        failure = None
    if failure is not None and _theirs(failure, len(undone), of):
        facts |= {"failure": failure.kind}
        move_attempts(write, running, AttemptState.RUNNING, AttemptEvent.FAILED, detail=failure.kind, **facts)
        if batch.duplicates is not None:
            give_back(write, alone, ShotState.RUNNING, failure.kind)
            return
        # A close refers to all shots at once, so it makes no single shot fail permanently.
        shared = replace(failure, attempts=MAX_ATTEMPTS)
        fail_shots(write, alone, ShotState.RUNNING, shared, facts["message"], batch.vram_class)
        return
    move_attempts(write, running, AttemptState.RUNNING, AttemptEvent.RELEASED, detail=batch.id)
    # No shot can be at fault while the pipeline is being loaded.
    if died and batch.duplicates is None:
        # A node that died with unreported uploads was in a later pass. Its first unreported pass is suspected
        # instead, because the ledger cannot tell them apart.
        suspects = [shot_id for shot_id in alone if shot_id in begun]
        spared = suspect(write, suspects, ShotState.RUNNING)
        alone = [shot_id for shot_id in alone if shot_id not in begun] + spared
    give_back(write, alone, ShotState.RUNNING, batch.id)


def _first_pass(write: Write, ids: Sequence[str]) -> int:
    """Images of the pass that ran, of those that it may have had.

    Shots are rendered in order, and those of a pass share one call.
    """
    if not ids:
        return 0
    query = select(shots.c.id, shots.c.spec).where(shots.c.id.in_(ids))
    calls = {row.id: shot_of(row.spec).call for row in write.connection.execute(query)}
    return sum(1 for _ in takewhile(lambda shot_id: calls[shot_id] == calls[ids[0]], ids))


def _died(rules: Rules, now: float, event: BatchEvent, failure: Failure | None) -> bool:
    """Whether an engine or node died on its own, as opposed to during a disruption of the farm."""
    gone = event in _GONE and failure is None and not rules.incident.lasts(now)
    return gone or (failure is not None and failure.kind == "engine_died")


def _theirs(failure: Failure, undone: int, all_of_them: int) -> bool:
    """Whether all unfinished shots are charged with the failure that ended their batch.

    Out of memory applies to all, because they have the same work key. A fault of the shots applies to all if
    the batch produced no image; otherwise a LoRA that never loads would be tried indefinitely.
    """
    if failure.blame is Blame.OUT_OF_MEMORY:
        return True
    return failure.blame is Blame.SHOT and undone == all_of_them


def whole_batch() -> Select[Any]:
    """Batches, with what their end needs to know of node and job."""
    node = [nodes.c[name] for name in ("card", "owner", "terms", "reason", "decided_by", "record")]
    columns: list[Any] = [batches, *node, nodes.c.state.label("node_state"), jobs.c.max_cost]
    return select(*columns).select_from(batches.join(nodes).join(jobs))


def _with(batch: Row[Any], changes: dict[str, Any]) -> SimpleNamespace:
    """The row with `changes` applied."""
    return SimpleNamespace(**(batch._asdict() | changes))


def _newest(batch: Row[Any], latest: Spent) -> Spent:
    """The total spent by the lease: the recorded or the newly reported value, whichever is larger."""
    kept = Spent(seconds=batch.spent_s, joules=batch.spent_joules, energy_method=batch.spent_method)
    later = latest.seconds and card_seconds(latest.seconds) >= card_seconds(kept.seconds)
    return latest if later else kept


def _spending(
    write: Write,
    rules: Rules,
    batch: Row[Any],
    load: Spent,
    compile_s: float,
    spent: Spent,
    rows: Sequence[Row[Any]],
) -> dict[str, Any]:
    """Columns of the batch for loading and encoding ahead, and for time not reported for an attempt."""
    load_s = card_seconds(load.seconds)
    loading = work_charge(load, batch, rules, write.now)
    lost = _lost(spent, load_s, loading["joules"], rows)
    losing = work_charge(lost, batch, rules, write.now)
    write.charge(batch.job_id, loading["cost"] + losing["cost"])
    return {
        "loads": int(max(load.seconds.get("load", 0.0), spent.seconds.get("load", 0.0)) > compile_s),
        "load_s": load_s,
        **prefixed("load_", loading),
        **spent_columns(spent),
        "lost_s": card_seconds(lost.seconds),
        **prefixed("lost_", losing),
    }


def _lost(spent: Spent, load_s: float, load_joules: float, rows: Sequence[Row[Any]]) -> Spent:
    """The part of the total of a lease that is reported neither by attempts nor as loading."""
    joules = sum(row.joules for row in rows)
    lost_s = max(0.0, card_seconds(spent.seconds) - sum(row.seconds for row in rows) - load_s)
    return Spent(
        seconds={"denoise": lost_s},
        joules=max(0.0, spent.joules - joules - load_joules) if lost_s else 0.0,
        energy_method=spent.energy_method,
    )
