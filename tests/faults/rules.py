"""What must hold after any fault; each rule yields a sentence for everything that breaks it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from common.states import ATTEMPT, BATCH, NODE, SHOT, Machine, ShotEvent
from gpu_node.agent.retry import LONGEST_WAIT_S
from tests.faults.evidence import Evidence, Felled, Row
from tests.faults.target import TIMING, WAITS_AGAIN_S
from tests.faults.work import DEADLY, ENDLESS

#: The kinds of failure that the two hopeless shots must end with.
_HOPELESS = {DEADLY: "poison", ENDLESS: "prompt_too_long"}
_CARD_PHASES = ("encode_s", "denoise_s", "decode_s")
#: S3 tells creation in whole seconds.
_STORE_CLOCK_S = 1.0


def every_wanted_shot_is_done_or_failed_with_a_reason(found: Evidence) -> Iterator[str]:
    for shot in found.tables["shots"]:
        state = shot["state"]
        if shot["id"] in found.wanted:
            if state != "done" and not (state == "failed" and shot["failure"] and shot["reason"]):
                yield f"{_named(found, shot)} is {state}"
        elif state not in ("done", "failed", "cancelled"):
            yield f"{_named(found, shot)} is {state}, and nobody wants it"


def exactly_the_two_hopeless_shots_are_not_done(found: Evidence) -> Iterator[str]:
    groups = _groups(found)
    for name in _HOPELESS.keys() - {groups[shot_id] for shot_id in found.wanted}:
        yield f"nobody wants the {name} shot"
    for shot in found.tables["shots"]:
        expected = _HOPELESS.get(groups[shot["id"]])
        failure = shot["failure"] if shot["state"] == "failed" else None
        if shot["id"] in found.wanted and failure != expected:
            reason = f"{shot['failure']}: {shot['reason']}"
            yield f"{_named(found, shot)} is {shot['state']} ({reason}), not {expected or 'done'}"


def only_the_two_hopeless_shots_ever_lose_an_attempt(found: Evidence) -> Iterator[str]:
    """By the event log: a requeue covers it up in the shots' own rows."""
    groups = _groups(found)
    for event in found.tables["events"]:
        if event["noun"] == "shot" and event["event"] in (ShotEvent.RETRIED, ShotEvent.EXHAUSTED):
            shot_id, met = event["subject"], event["detail"]
            if met != _HOPELESS.get(groups[shot_id]):
                yield f"shot {shot_id[:12]} ({groups[shot_id]}) was {event['event']}: {met}"


def every_shot_is_done_once(found: Evidence) -> Iterator[str]:
    shot_events = [event for event in found.tables["events"] if event["noun"] == "shot"]
    done = Counter(event["subject"] for event in shot_events if event["target"] == "done")
    stored = Counter(a["shot_id"] for a in found.tables["attempts"] if a["state"] == "stored")
    for shot in found.tables["shots"]:
        is_done = shot["state"] == "done"
        # What was found to be false is deleted, and so are copies once they are compared.
        times = is_done + shot["deletions"]
        if done[shot["id"]] != times or (shot["id"] in found.images) != is_done:
            yield f"{_named(found, shot)} became done {done[shot['id']]} times and is {shot['state']}"
        if stored[shot["id"]] > max(1, times):
            yield f"{_named(found, shot)} was stored by {stored[shot['id']]} attempts"


def nothing_stored_is_rendered_again(found: Evidence) -> Iterator[str]:
    for attempt in found.tables["attempts"]:
        image = found.images.get(attempt["shot_id"])
        if image and attempt["started_at"] > image["stored_at"]:
            yield f"attempt {attempt['id']} at {attempt['shot_id'][:12]} began after its picture was stored"


def no_picture_is_missing(found: Evidence) -> Iterator[str]:
    for image in found.images.values():
        if image["key"] not in found.pictures:
            yield f"{image['key']} is not in the store"


def no_object_is_overwritten(found: Evidence) -> Iterator[str]:
    deleted = {image["key"] for image in found.tables["deleted_images"]}
    for key in sorted(found.changed | (found.gone - deleted)):
        yield f"{key} changed or vanished after it had been seen"
    for image in (image for image in found.images.values() if image["key"] in found.pictures):
        key, kept = image["key"], found.pictures[image["key"]]
        if (kept.get("attempt"), kept.get("sha256")) != (image["attempt_id"], image["sha256"]):
            yield f"{key} is of {kept.get('attempt')}, the ledger says {image['attempt_id']}"
        elif found.created[key] > image["stored_at"] + _STORE_CLOCK_S:
            yield f"{key} was written after the ledger called it stored"


def no_object_is_unreferenced(found: Evidence) -> Iterator[str]:
    known = {image["key"] for image in found.images.values()}
    for key in sorted(found.pictures.keys() - known):
        yield f"{key} is no image of the ledger"
    closed = {batch["id"] for batch in found.tables["batches"] if batch["state"] == "closed"}
    for key in found.quarantine:
        if key.split("/")[1] not in closed:
            yield f"{key} belongs to no batch that is over: nothing will clear it"


def nothing_is_left_in_hand(found: Evidence) -> Iterator[str]:
    for table, open_states in (("batches", ("leased",)), ("attempts", ("running", "delivered"))):
        for row in found.tables[table]:
            if row["state"] in open_states:
                yield f"{table}: {row['id']} is still {row['state']}"


def no_shot_pays_for_others(found: Evidence) -> Iterator[str]:
    """A shot's attempts are spent on its own failures only."""
    for shot in found.tables["shots"]:
        if shot["state"] != "failed" and shot["attempts"]:
            yield f"{_named(found, shot)} lost {shot['attempts']} attempts"


def waste_is_counted_and_costed(found: Evidence) -> Iterator[str]:
    told: Counter[str] = Counter()
    for attempt in found.tables["attempts"]:
        worked = sum(attempt[phase] for phase in _CARD_PHASES)
        told[attempt["batch_id"]] += worked
        if worked and not found.paid(attempt):
            yield f"attempt {attempt['id']} worked {worked:.1f} s at no cost"
    for batch in found.tables["batches"]:
        spent = sum(batch["spent_s"].get(p, 0.0) for p in ("load", "encode", "denoise", "decode"))
        lost = max(0.0, spent - told[batch["id"]] - batch["load_s"])
        if not math.isclose(lost, batch["lost_s"], abs_tol=1e-6):
            yield f"batch {batch['id']} lost {lost:.2f} s by its heartbeats, and has {batch['lost_s']:.2f}"
        if any(batch[f"{part}_s"] and not found.paid(batch, f"{part}_") for part in ("lost", "load")):
            yield f"batch {batch['id']} lost {batch['lost_s']} s, loaded {batch['load_s']} s, all for nothing"
    if not math.isclose(rows_cost(found), found.told_cost, rel_tol=1e-9):
        yield f"the jobs cost {found.told_cost} by the API and {rows_cost(found)} by the rows"


def every_attempt_is_in_the_account(found: Evidence) -> Iterator[str]:
    for ending, missing in sorted(found.uncounted.items()):
        yield f"{missing} attempts ended {ending} that the farm's metrics do not count"


def a_pass_that_died_is_waste(found: Evidence) -> Iterator[str]:
    """With its engine; or with its node, where that is known to have begun and reported nothing."""
    reported = {attempt["batch_id"] for attempt in found.tables["attempts"] if attempt["denoise_s"]}
    for batch in found.tables["batches"]:
        of_node = batch["outcome"] in ("expired", "vanished") and "denoise" in batch["spent_s"]
        died = batch["failure"] == "engine_died" or (of_node and batch["id"] not in reported)
        if died and not (batch["lost_s"] > 0 and found.paid(batch, "lost_") > 0):
            yield f"batch {batch['id']} died at work ({batch['outcome']}), and nothing of it counts as lost"
    for event in found.tables["events"]:
        poisonous = event["noun"] == "shot" and event["detail"] == "poison"
        if poisonous and not _lost_with(found, event["subject"]):
            yield f"shot {event['subject'][:12]} is poison, and no pass that died with it counts as lost"


def a_dead_nodes_work_waits_again_in_time(found: Evidence) -> Iterator[str]:
    for felled, batch in held_by_felled(found):
        # A node that lives, without its engine, holds its batch until all it has rendered is delivered. Its
        # pauses between attempts are not at a fifth.
        lived = batch["outcome"] != "expired"
        of_gateway = found.gateway_outages if felled.node in found.volunteers else ()
        delivering = [*found.store_outages, *of_gateway] if lived else []
        excused = [(begin, end + LONGEST_WAIT_S) for begin, end in delivering]
        late = (batch["closed_at"] or math.inf) - _due(felled, [*found.outages, *excused])
        if late > 0:
            yield f"{batch['id']} of {felled.node} ({felled.by}) closed {late:.1f} s too late"


def every_transition_is_legal(found: Evidence) -> Iterator[str]:
    machines: dict[str, tuple[Machine[Any, Any], str]] = {
        "shot": (SHOT, "shots"),
        "attempt": (ATTEMPT, "attempts"),
        "batch": (BATCH, "batches"),
        "node": (NODE, "nodes"),
    }
    for noun, (machine, table) in machines.items():
        legal = {(t.source, t.event, t.target) for t in machine.transitions}
        courses: dict[str, list[Row]] = {row["id"]: [] for row in found.tables[table]}
        for event in sorted(found.tables["events"], key=lambda event: event["id"]):
            if event["noun"] == noun:
                courses[event["subject"]].append(event)
        for row in found.tables[table]:
            course = courses[row["id"]]
            steps = [(event["source"], event["event"], event["target"]) for event in course]
            ends = [target for _, _, target in steps]
            begins = [source for source, _, _ in steps]
            starts_well = not steps or begins[0] in machine.initial
            is_chain = begins[1:] == ends[:-1] and (not steps or ends[-1] == row["state"])
            if not (starts_well and is_chain and legal.issuperset(steps)):
                yield f"{noun} {row['id']} went {' → '.join([*begins[:1], *ends])} and is {row['state']}"


#: Of any farm at rest.
COMMON_RULES: tuple[Callable[[Evidence], Iterable[str]], ...] = (
    every_wanted_shot_is_done_or_failed_with_a_reason,
    only_the_two_hopeless_shots_ever_lose_an_attempt,
    every_shot_is_done_once,
    nothing_stored_is_rendered_again,
    no_picture_is_missing,
    no_object_is_overwritten,
    no_object_is_unreferenced,
    nothing_is_left_in_hand,
    no_shot_pays_for_others,
    waste_is_counted_and_costed,
    every_attempt_is_in_the_account,
    a_pass_that_died_is_waste,
    a_dead_nodes_work_waits_again_in_time,
    every_transition_is_legal,
)
RULES = (exactly_the_two_hopeless_shots_are_not_done, *COMMON_RULES)


def rows_cost(found: Evidence) -> float:
    """What all attempts, loads and lost work cost, added up."""
    attempts = (attempt["cost"] for attempt in found.tables["attempts"])
    around = (batch["load_cost"] + batch["lost_cost"] for batch in found.tables["batches"])
    return math.fsum((*attempts, *around))


def held_by_felled(found: Evidence) -> Iterator[tuple[Felled, Row]]:
    """Each node that was felled with the batch it held."""
    for felled in found.felled:
        for batch in found.tables["batches"]:
            over = batch["closed_at"] or math.inf
            if batch["node_id"] == felled.node and batch["leased_at"] <= felled.at < over:
                yield felled, batch


def _due(felled: Felled, excused: Iterable[tuple[float, float]]) -> float:
    """When the work must wait again: excused outages, and the grace after each, do not count."""
    due = felled.at + WAITS_AGAIN_S
    for begin, end in sorted(excused):
        if begin < due and end > felled.at:
            due = max(due, end + TIMING.grace_s + WAITS_AGAIN_S)
    return due


def _groups(found: Evidence) -> dict[str, str]:
    """Shot to the manifest's group it is of; copies that are compared have groups of their own."""
    named = [*found.tables["removals"], *found.tables["wants"]]
    return {row["shot_id"]: row["name"].split("/")[0] for row in named}


def _lost_with(found: Evidence, shot_id: str) -> float:
    """Seconds lost by all batches that held the shot."""
    held = {attempt["batch_id"] for attempt in found.tables["attempts"] if attempt["shot_id"] == shot_id}
    return math.fsum(batch["lost_s"] for batch in found.tables["batches"] if batch["id"] in held)


def _named(found: Evidence, shot: Row) -> str:
    names = {want["name"] for want in found.tables["wants"] if want["shot_id"] == shot["id"]}
    return f"shot {shot['id'][:12]} ({', '.join(sorted(names))})"
