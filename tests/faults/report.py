"""The figures of a run under faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.faults.evidence import Evidence
from tests.faults.rules import (
    every_wanted_shot_is_done_or_failed_with_a_reason,
    held_by_felled,
    no_object_is_overwritten,
    no_picture_is_missing,
    rows_cost,
)

_CARD_PHASES = ("encode_s", "denoise_s", "decode_s")


def figures(found: Evidence) -> Iterator[str]:
    """One line each."""
    attempts, batches = found.tables["attempts"], found.tables["batches"]
    yield f"jobs {len(found.tables['jobs'])}, shots {_counts(found.tables['shots'], 'state')}"
    shared = Counter(want["shot_id"] for want in found.tables["wants"])
    yield f"shots that several jobs want: {sum(1 for jobs in shared.values() if jobs > 1)}"
    yield f"batches {_counts(batches, 'outcome')}"
    yield f"attempts {_counts(attempts, 'state')}; failures {_counts(attempts, 'failure')}"
    worked = {a["id"]: sum(a[phase] for phase in _CARD_PHASES) for a in attempts}
    stored = sum(worked[a["id"]] for a in attempts if a["state"] == "stored")
    lost = sum(batch["lost_s"] for batch in batches)
    loading = sum(batch["load_s"] for batch in batches)
    yield (
        f"card seconds: {stored:.0f} for stored pictures, {sum(worked.values()) - stored:.0f} for others, "
        f"{lost:.0f} killed, {loading:.0f} loading; cost of all {rows_cost(found):.4f}"
    )
    copies = [batch for batch in batches if batch["duplicates"]]
    beaten = sum(batch["beaten"] for batch in batches)
    yield f"shots taken back from a batch: {sum(batch['trimmed'] for batch in batches)}"
    yield f"duplicates {_counts(copies, 'outcome')}; shots that another node delivered first: {beaten}"
    without = [batch for batch in batches if not batch["encodes"]]
    yield f"batches of a node without room for a text encoder {_counts(without, 'outcome')}"
    suspects = sum(1 for shot in found.tables["shots"] if shot["crashes"])
    yield f"shots that some death put under suspicion: {suspects}"
    waits = sorted(batch["closed_at"] - felled.at for felled, batch in held_by_felled(found))
    if waits:
        middle = waits[len(waits) // 2]
        yield (
            f"work of felled nodes waited again after {middle:.1f} s (median), {waits[-1]:.1f} s (longest, "
            f"outages included) of {len(waits)}"
        )
    away = sum(end - begin for begin, end in found.outages)
    yield f"coordinator away or without a processor {len(found.outages)} times, {away:.0f} s in all"
    yield f"objects {len(found.pictures)}, left in quarantine {len(found.quarantine)}"
    lost = [*every_wanted_shot_is_done_or_failed_with_a_reason(found), *no_picture_is_missing(found)]
    yield f"lost {len(lost)}"
    yield f"overwritten {len(list(no_object_is_overwritten(found)))}"
    yield f"not done {_not_done(found)}"


def _not_done(found: Evidence) -> str:
    """Number and kinds of failure of what is wanted in vain."""
    wanted = [shot for shot in found.tables["shots"] if shot["id"] in found.wanted]
    return _counts([shot for shot in wanted if shot["state"] != "done"], "failure")


def _counts(rows: list[dict[str, object]], column: str) -> str:
    found = Counter(str(row[column]) for row in rows if row[column])
    return f"{found.total()} ({', '.join(f'{number} {name}' for name, number in sorted(found.items()))})"
