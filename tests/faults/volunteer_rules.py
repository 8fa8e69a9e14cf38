"""What must hold on a farm that has a cheater and a drain attacker among its volunteers."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from common.levels import Level, limits_of
from tests.faults import drain
from tests.faults.evidence import Evidence, Row
from tests.faults.target import TIMING
from tests.faults.volunteers import CHEATER

#: Seconds after a deadline in which the sweep ends a lease, and that a model takes to load.
_SWEPT_S, _LOADED_S = 3 * TIMING.sweep_s, 20.0
_CARD_PHASES = ("encode_s", "denoise_s", "decode_s")


def the_cheater_is_barred_by_its_first_false_image(found: Evidence) -> Iterator[str]:
    """All of the first 20 images of an owner are checked, and all that it delivers after them is false."""
    false = [image["shot_id"] for image in _false_images(found)]
    standing = {row["owner"]: row for row in found.tables["standings"]}.get(CHEATER.owner)
    if false and (standing is None or not standing["barred"]):
        verdicts = Counter(str(row["verdict"]) for row in _verified(found) if row["shot_id"] in false)
        yield f"{CHEATER.owner} delivered {len(false)} false images and is not barred: {dict(verdicts)}"


def no_false_image_is_left_in_a_job(found: Evidence) -> Iterator[str]:
    false = {image["shot_id"] for image in _false_images(found)}
    for image in found.images.values():
        if image["node_id"] == CHEATER.name and image["shot_id"] in false:
            yield f"{image['key']} of {CHEATER.name} is false, and still there"
    for row in found.tables["removals"]:
        lacks = row["shot_id"] in false and row["redo_id"] is None and not row["again"]
        if lacks and found.intents[row["job_id"]] != "cancelled":
            yield f"nothing takes the place of the false image {row['name']} of {row['job_id']}"
    for row in _verified(found):
        if row["shot_id"] in false and row["verdict"] == "clean":
            yield f"the false image {row['shot_id'][:12]} was found right"


def nobody_upright_is_barred(found: Evidence) -> Iterator[str]:
    for row in found.tables["standings"]:
        if row["barred"] and row["owner"] != CHEATER.owner:
            yield f"{row['owner']} is barred: {row['barred']}"
    for row in found.tables["verifications"]:
        if row["owner"] != CHEATER.owner and row["verdict"] in ("false", "doubtful"):
            yield f"image {row['shot_id'][:12]} of {row['owner']} was found {row['verdict']}"


def the_attacker_holds_no_shot_longer_than_until_its_deadline(found: Evidence) -> Iterator[str]:
    for batch in attackers_leases(found):
        longest_s = found.stall_load_s + _LOADED_S + batch["patience_s"]
        # While the farm is in trouble, nodes cannot deliver.
        troubles = [*found.outages, *found.store_outages]
        ends = [end + TIMING.grace_s for begin, end in troubles if begin < _closed(batch)]
        excused_until = max(ends, default=0.0) + batch["patience_s"]
        late_s = _closed(batch) - max(batch["leased_at"] + longest_s, excused_until) - _SWEPT_S
        if late_s > 0:
            yield f"{batch['node_id']} held {batch['id']} for {_held_s(batch):.0f} s, {late_s:.0f} s too long"


def the_attacker_delivers_nothing_and_is_paid_nothing(found: Evidence) -> Iterator[str]:
    held = {batch["id"] for batch in attackers_leases(found)}
    for attempt in found.tables["attempts"]:
        if attempt["batch_id"] in held and attempt["state"] == "stored":
            yield f"attempt {attempt['id']} of {attempt['node_id']} is stored"
    cost = math.fsum(batch["load_cost"] + batch["lost_cost"] for batch in attackers_leases(found))
    if cost:
        yield f"what the attacker held cost the farm {cost}"


def an_owner_on_probation_has_one_small_lease(found: Evidence) -> Iterator[str]:
    most = limits_of(Level.PROBATION)
    sizes = Counter(attempt["batch_id"] for attempt in found.tables["attempts"])
    by_owner: dict[str, list[Row]] = defaultdict(list)
    for batch in sorted(found.tables["batches"], key=lambda batch: batch["leased_at"]):
        if (node := found.volunteers.get(batch["node_id"])) is not None:
            by_owner[node["owner"]].append(batch)
            if sizes[batch["id"]] > most.images:
                yield f"batch {batch['id']} of {node['owner']} has {sizes[batch['id']]} images"
    for owner, theirs in by_owner.items():
        for one, other in pairwise(theirs):
            if other["leased_at"] < _closed(one):
                yield f"{owner} had {one['id']} and {other['id']} at the same time"


def bills_are_the_seconds_of_nodes(found: Evidence) -> Iterator[str]:
    """What is charged of each node is what its attempts, loads and lost passes took, and its idle time."""
    took: Counter[str] = Counter()
    for attempt in found.tables["attempts"]:
        took[attempt["node_id"]] += sum(attempt[phase] for phase in _CARD_PHASES)
    for batch in found.tables["batches"]:
        took[batch["node_id"]] += batch["load_s"] + batch["lost_s"]
    billed: Counter[str] = Counter()
    for row in found.tables["monthly_charges"]:
        billed[row["node_id"]] += row["seconds"] * (row["use"] != "idle")
    told = [("worked", node["id"], took[node["id"]], billed[node["id"]]) for node in found.tables["nodes"]]
    told += [("idled", row["id"], row["idle_s"], row["billed_s"]) for row in found.tables["idle"]]
    for what, name, seconds, on_bills in told:
        if not math.isclose(seconds, on_bills, rel_tol=1e-6, abs_tol=1e-6):
            yield f"{name} {what} for {seconds:.3f} s, and {on_bills:.3f} s of it are on bills"


VOLUNTEER_RULES: tuple[Callable[[Evidence], Iterable[str]], ...] = (
    the_cheater_is_barred_by_its_first_false_image,
    no_false_image_is_left_in_a_job,
    nobody_upright_is_barred,
    the_attacker_holds_no_shot_longer_than_until_its_deadline,
    the_attacker_delivers_nothing_and_is_paid_nothing,
    an_owner_on_probation_has_one_small_lease,
    bills_are_the_seconds_of_nodes,
)


def volunteer_figures(found: Evidence) -> Iterator[str]:
    """One line each."""
    images = [*found.tables["images"], *found.tables["deleted_images"]]
    by_node = Counter(image["node_id"] for image in images if image["node_id"] in found.volunteers)
    delivered = (f"{number} of {name}" for name, number in sorted(by_node.items()))
    yield f"images through the gateway: {', '.join(delivered)}"
    verdicts = Counter((row["owner"], str(row["verdict"])) for row in found.tables["verifications"])
    told = (f"{number} {verdict} of {owner}" for (owner, verdict), number in sorted(verdicts.items()))
    yield f"verified images: {', '.join(told)}; false and stored: {len(_false_images(found))}"
    held = sorted(_held_s(batch) for batch in attackers_leases(found))
    names = {batch["node_id"] for batch in attackers_leases(found)}
    longest = f", the longest for {held[-1]:.0f} s" if held else ""
    ways = Counter(f"{batch['outcome']} {batch['failure']}".strip() for batch in attackers_leases(found))
    yield f"leases of the attacker: {len(held)} of {len(names)} names{longest}; {dict(ways)}"


def attackers_leases(found: Evidence) -> list[Row]:
    theirs = {name for name, node in found.volunteers.items() if node["owner"] == drain.OWNER}
    return [batch for batch in found.tables["batches"] if batch["node_id"] in theirs]


def _false_images(found: Evidence) -> list[Row]:
    """Images that the cheater delivered in the place of others, by its own word, whether deleted or not."""
    stored = (*found.tables["images"], *found.tables["deleted_images"])
    return [row for row in stored if row["node_id"] == CHEATER.name and row["shot_id"] in found.lies]


def _verified(found: Evidence) -> list[Row]:
    return [row for row in found.tables["verifications"] if row["node_id"] == CHEATER.name]


def _closed(batch: Row) -> float:
    return batch["closed_at"] or math.inf


def _held_s(batch: Row) -> float:
    return float(_closed(batch) - batch["leased_at"])
