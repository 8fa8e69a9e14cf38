"""Verification: other nodes render images of volunteers again, and false ones are found by comparison.

The images are chosen after they are stored, by what only the farm knows. Copies of their shots are work of
jobs of their own, one for each owner, lane and month: they are leased, retried and charged as any work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import count
from typing import Any, NamedTuple

from sqlalchemy import Row, and_, func, insert, or_, select, update

from common.catalog import base_recipe
from common.levels import OwnerStanding, checked_share, is_chosen
from common.likeness import OPINIONS, Judgement, Opinion, doubted, is_repeated, judge, liars
from common.states import GONE, BatchEvent, NodeState, ShotState
from coordinator.ledger import trust
from coordinator.ledger.charges import VERIFYING, is_verification, utc_month
from coordinator.ledger.database import insert_new
from coordinator.ledger.deletions import delete_pictures
from coordinator.ledger.discards import discard
from coordinator.ledger.endings import end_held
from coordinator.ledger.node_rows import node_row
from coordinator.ledger.opening import open_job
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import images, jobs, nodes, removals, shots, verifications, wants
from coordinator.ledger.shot_rows import give_fresh_start
from coordinator.ledger.specs import shot_of, spec_of
from coordinator.ledger.standings import known_standing, set_standing, volunteers_of
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import SUBMITTED, chunks, drop_unwanted, note_job
from coordinator.ledger.waiting import begin_waiting

#: Owner of the jobs, whose work goes before most other work of their lane; and who removes false images.
PAYER, _PRIORITY, FARM = "verification", 60, "farm"
#: The newest images of an owner that are verified when one of its images is false.
RECALLED = 200
#: Images of a node that a new one is compared with.
_RECENT = 32
#: Copies of an image at the most, of which some may fail.
_TRIES = 2 * OPINIONS
#: Where the sweep need not help; and verifications that it helps at a time.
_ON_ITS_WAY, _STALLED = (ShotState.WAITING, ShotState.RUNNING, ShotState.DELIVERED), 50
_TO_CHECK = "an image that it rendered to check another one"

#: A row of `images`.
_Image = Mapping[str, Any]


class _Suspect(NamedTuple):
    """An image to be verified; `why` as in the table."""

    image: _Image
    why: str


def check_stored(write: Write, rules: Rules, stored: Sequence[_Image]) -> set[str]:
    """Count images of volunteers, choose some of them, and compare copies with what they are copies of.

    Returns the shots whose images await an opinion. Does nothing for owned and rented nodes.
    """
    theirs: dict[str, list[_Image]] = defaultdict(list)
    copies = [image for image in stored if is_verification(image["job_id"])]
    for image in stored:
        if not is_verification(image["job_id"]) and image["perceptual_hash"]:
            node = write.backlog.known(image["node_id"])
            # What is rendered in a lane of its own is for nobody else's eyes.
            if node.terms == "volunteer" and write.lanes.of(image["lane"]).owner != node.owner:
                theirs[node.owner].append(image)
    chosen = [suspect for owner, some in theirs.items() for suspect in _count(write, rules, owner, some)]
    _compare(write, rules, copies)
    return {suspect.image["shot_id"] for suspect in chosen}


def bar(write: Write, rules: Rules, owner: str, reason: str) -> None:
    """Take nothing from the nodes of an owner any more, and verify the newest of its images."""
    standing = known_standing(write, owner)
    if standing.barred:
        return
    set_standing(write, owner, replace(standing, clean=0, barred=reason))
    for node_id in write.connection.scalars(volunteers_of(owner)).all():
        _quarantine(write, rules, node_id, reason)
    _ask(write, owner, [_Suspect(row._asdict(), "recalled") for row in _unverified(write, owner)])
    _discard_doubtful(write, rules, owner)


def _discard_doubtful(write: Write, rules: Rules, owner: str) -> None:
    """Discard what one node of the farm insists is wrong: a barred owner has no benefit of the doubt."""
    there = images.c.shot_id == verifications.c.shot_id, images.c.attempt_id == verifications.c.attempt_id
    doubtful = verifications.c.owner == owner, verifications.c.verdict == Judgement.DOUBTFUL.value
    query = select(images.c.shot_id).select_from(verifications.join(images, and_(*there))).where(*doubtful)
    discard(write, rules.rates.currency, write.connection.scalars(query).all(), FARM)


def reinstate(write: Write, owner: str) -> None:
    """Let the nodes of an owner that was barred begin again on probation."""
    standing = known_standing(write, owner)
    if standing.barred:
        set_standing(write, owner, OwnerStanding(since=write.now, known=standing.known))


def _quarantine(write: Write, rules: Rules, node_id: str, reason: str) -> None:
    end_held(write, rules, node_id, BatchEvent.RELEASED)
    node = node_row(write.connection, node_id)
    if node.state not in (*GONE, NodeState.FORGOTTEN):
        trust.quarantine(write, node, reason, FARM)


def _count(write: Write, rules: Rules, owner: str, some: Sequence[_Image]) -> list[_Suspect]:
    """Count what nodes of an owner delivered, and ask for opinions on some of it; returns these."""
    standing, chosen = known_standing(write, owner), list[_Suspect]()
    for image in some:
        why = _why(write, rules, standing, image)
        if why is not None:
            chosen.append(_Suspect(image, why))
        clean = standing.clean + (why is None)
        standing = replace(standing, images=standing.images + 1, clean=clean)
    set_standing(write, owner, standing)
    _ask(write, owner, chosen)
    return chosen


def _why(write: Write, rules: Rules, standing: OwnerStanding, image: _Image) -> str | None:
    """Why an image is to be verified; None: it is not."""
    if write.backlog.known(image["node_id"]).state is NodeState.SELFTEST:
        return "selftest"
    if standing.barred:
        return "recalled"
    if is_chosen(rules.secret, image["attempt_id"], checked_share(standing.clean)):
        return "chosen"
    return "repeated" if _repeats(write, image) else None


def _repeats(write: Write, image: _Image) -> bool:
    """Whether the node delivered as good as this image for another seed or prompt shortly before."""
    query = select(images.c.shot_id, images.c.perceptual_hash)
    mine = images.c.node_id == image["node_id"], images.c.perceptual_hash.is_not(None)
    recent = write.connection.execute(
        query.where(*mine).order_by(images.c.stored_at.desc()).limit(_RECENT)
    ).all()
    return any(
        row.shot_id != image["shot_id"] and is_repeated(row.perceptual_hash, image["perceptual_hash"])
        for row in recent
    )


def _unverified(write: Write, owner: str) -> Sequence[Row[Any]]:
    """The newest images of an owner on which no opinion was asked for."""
    asked = select(verifications.c.attempt_id)
    theirs = nodes.c.owner == owner, nodes.c.terms == "volunteer", images.c.perceptual_hash.is_not(None)
    query = select(images).select_from(images.join(nodes, nodes.c.id == images.c.node_id))
    query = query.where(*theirs, images.c.attempt_id.not_in(asked))
    return write.connection.execute(query.order_by(images.c.stored_at.desc()).limit(RECALLED)).all()


def _ask(write: Write, owner: str, suspects: Sequence[_Suspect]) -> None:
    """Ask for the first opinion on images of an owner."""
    same = ("attempt_id", "shot_id", "node_id", "lane", "recipe")
    rows = [
        {name: image[name] for name in same} | {"owner": owner, "why": why, "asked_at": write.now}
        for image, why in suspects
    ]
    insert_new(write.connection, verifications, [row | {"opinions": []} for row in rows])
    by_lane: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        by_lane[row["lane"]][row["shot_id"]] = row["attempt_id"]
    for lane, attempt_ids in by_lane.items():
        _render_again(write, owner, lane, attempt_ids, 0)


def _render_again(write: Write, owner: str, lane: str, suspects: Mapping[str, str], number: int) -> None:
    """Let others render shots, after so many copies; `suspects` maps them to their attempts."""
    job_id, copies = _job(write, owner, lane), dict[str, str]()
    for some in chunks(list(suspects)):
        rows = write.connection.execute(select(shots).where(shots.c.id.in_(some))).all()
        new = [_copy(row, number) for row in rows]
        copies |= {row["id"]: suspects[old.id] for row, old in zip(new, rows, strict=True)}
        insert_new(write.connection, shots, new)
    _want(write, job_id, list(copies))
    for copy_id, attempt_id in copies.items():
        mine = update(verifications).where(verifications.c.attempt_id == attempt_id)
        write.connection.execute(mine.values(copy_id=copy_id, tries=number + 1, asked_at=write.now))


def _copy(row: Row[Any], number: int) -> dict[str, Any]:
    """A shot that differs in its generation alone, which is below 0 for copies."""
    shot = shot_of(row.spec)
    copy = shot._replace(generation=-(_TRIES * shot.generation + number + 1))
    state = ShotState.WAITING if row.min_class else ShotState.UNSCHEDULABLE
    same = {name: getattr(row, name) for name in ("work_key", "min_class", "texts")}
    return {"id": copy.id, "state": state.value, "spec": spec_of(copy)} | same


def _want(write: Write, job_id: str, copy_ids: Sequence[str]) -> None:
    """Let a job want copies that it does not want yet."""
    for some in chunks(copy_ids):
        mine = wants.c.job_id == job_id
        known = set(write.connection.scalars(select(wants.c.shot_id).where(mine, wants.c.shot_id.in_(some))))
        new = [copy_id for copy_id in some if copy_id not in known]
        for state in (ShotState.FAILED, ShotState.CANCELLED):
            given_up = select(shots.c.id).where(shots.c.id.in_(new), shots.c.state == state.value)
            give_fresh_start(write, write.connection.scalars(given_up).all(), state, job_id)
        # Copies that were compared are no wants any more, but keep their positions.
        taken = (
            write.connection.scalar(select(func.max(table.c.position)).where(table.c.job_id == job_id))
            for table in (wants, removals)
        )
        first = max(position or 0 for position in taken) + 1
        rows = [_wanted(job_id, position, copy_id) for position, copy_id in enumerate(new, first)]
        if rows:
            write.connection.execute(insert(wants), rows)
        added = mine, wants.c.position >= first
        begin_waiting(write, *added)
        counts = select(shots.c.state, func.count()).select_from(wants.join(shots)).where(*added)
        for state_now, number in write.connection.execute(counts.group_by(shots.c.state)):
            write.sums.count(job_id, state_now, number)


def _wanted(job_id: str, position: int, copy_id: str) -> dict[str, Any]:
    row = {"job_id": job_id, "position": position, "shot_id": copy_id, "name": copy_id[:12]}
    return row | {"template": "", "group_name": "", "axes": {}, "again": False, "reused": False}


def _job(write: Write, owner: str, lane: str) -> str:
    """The job of this month for an owner's images of a lane; another one if that was cancelled."""
    month = utc_month(write.now)
    for number in count():
        digest = sha256("\n".join((month, lane, owner, str(number))).encode()).hexdigest()
        job_id = VERIFYING + digest[:8]
        known = select(jobs.c.intent, jobs.c.thinning_at).where(jobs.c.id == job_id)
        row = write.connection.execute(known).one_or_none()
        if row is None:
            _begin_job(write, job_id, owner, lane, month)
            return job_id
        if row.intent != "cancelled" and row.thinning_at is None:
            return job_id
    raise AssertionError("there are always more numbers")


def _begin_job(write: Write, job_id: str, owner: str, lane: str, month: str) -> None:
    row = {
        "id": job_id,
        "name": f"{owner}, {month}",
        "owner": PAYER,
        "lane": lane,
        "priority": _PRIORITY,
        "intent": "active",
        "complete": True,
        "submitted_at": write.now,
        "manifest": f"# The farm renders some images of {owner} again, to compare them.\n",
        "random_seed": 0,
        "verifies": owner,
    }
    write.connection.execute(insert(jobs), [row])
    open_job(write, job_id)
    note_job(write, job_id, SUBMITTED)


def stalled(write: Write, rules: Rules) -> Sequence[Row[Any]]:
    """Verifications whose copy is not waiting, rendered or judged any more, with its state; some of them."""
    late = write.now - rules.timing.retry_s
    joined = verifications.outerjoin(shots, shots.c.id == verifications.c.copy_id)
    query = select(verifications, shots.c.state).select_from(joined)
    over = or_(shots.c.state.is_(None), shots.c.state.not_in(_ON_ITS_WAY))
    waiting = verifications.c.verdict.is_(None), verifications.c.asked_at < late
    return write.connection.execute(query.where(*waiting, over).limit(_STALLED)).all()


def go_on(write: Write, rules: Rules, row: Row[Any]) -> None:
    """Let another copy be rendered in place of one that failed; leave open what cannot be rendered."""
    opinions = [Opinion(*one) for one in row.opinions]
    failed = row.state == ShotState.FAILED
    _weigh(write, rules, row, opinions, None if failed else Judgement.OPEN)
    if not failed and row.copy_id is not None:
        delete_pictures(write, [row.copy_id], None, PAYER)
        drop_unwanted(write, [row.copy_id])


def _compare(write: Write, rules: Rules, copies: Sequence[_Image]) -> None:
    """Hear what other nodes rendered; copies are deleted once they are compared."""
    if not copies:
        return
    found = {copy["shot_id"]: copy for copy in copies}
    awaited = verifications.c.copy_id.in_(found), verifications.c.verdict.is_(None)
    for row in write.connection.execute(select(verifications).where(*awaited)).all():
        _hear(write, rules, row, found[row.copy_id])
    delete_pictures(write, list(found), None, PAYER)


def _hear(write: Write, rules: Rules, row: Row[Any], copy: _Image) -> None:
    """Add an opinion to a verification, and act on what all of them say."""
    opinions = [Opinion(*one) for one in row.opinions]
    # What ingest did not see is rendered once more.
    if copy["perceptual_hash"]:
        node = write.backlog.known(copy["node_id"])
        own, recipe = node.terms != "volunteer", base_recipe(copy["recipe"])
        opinions.append(Opinion(node.id, node.owner, own, recipe, copy["perceptual_hash"]))
    mine = images.c.shot_id == row.shot_id, images.c.attempt_id == row.attempt_id
    told = write.connection.scalar(select(images.c.perceptual_hash).where(*mine))
    verdict = Judgement.OPEN if told is None else judge(told, base_recipe(row.recipe), opinions)
    _weigh(write, rules, row, opinions, verdict)
    if verdict is not None and told is not None:
        lies = liars(told, opinions)
        for owner in sorted({one.owner for one in lies}):
            bar(write, rules, owner, f"{_TO_CHECK} is not what was asked for")
        for node_id in sorted({one.node for one in doubted(told, opinions) if one not in lies}):
            _quarantine(write, rules, node_id, f"{_TO_CHECK} differs from that of a node of the farm")


def _weigh(
    write: Write, rules: Rules, row: Row[Any], opinions: Sequence[Opinion], verdict: Judgement | None
) -> None:
    """Settle a verification, or let one more copy be rendered; not for ever."""
    if verdict is None and row.tries >= _TRIES:
        verdict = Judgement.OPEN
    settled_at = None if verdict is None else write.now
    values = {"opinions": [list(one) for one in opinions], "verdict": verdict, "settled_at": settled_at}
    this = update(verifications).where(verifications.c.attempt_id == row.attempt_id)
    write.connection.execute(this.values(**values))
    if verdict is None:
        _render_again(write, row.owner, row.lane, {row.shot_id: row.attempt_id}, row.tries)
    else:
        _act(write, rules, row, verdict, opinions)


def _act(write: Write, rules: Rules, row: Row[Any], verdict: Judgement, opinions: Sequence[Opinion]) -> None:
    node = node_row(write.connection, row.node_id)
    tested = row.why == "selftest" and node.state == NodeState.SELFTEST
    match verdict:
        case Judgement.CLEAN:
            standing = known_standing(write, row.owner)
            if not standing.barred:
                set_standing(write, row.owner, replace(standing, clean=standing.clean + 1))
            if tested:
                trust.forgive(write, node)
        case Judgement.FALSE:
            found = f"image {row.shot_id[:12]} of {row.node_id} is not what was asked for"
            bar(write, rules, row.owner, found)
            discard(write, rules.rates.currency, [row.shot_id], FARM)
        case Judgement.DOUBTFUL:
            # A quarantine that an operator or a bar began keeps its reason.
            if known_standing(write, row.owner).barred:
                discard(write, rules.rates.currency, [row.shot_id], FARM)
            elif node.state != NodeState.QUARANTINED:
                other = f"{opinions[0].node} alone renders image {row.shot_id[:12]} otherwise"
                _quarantine(write, rules, row.node_id, f"{other}: one of the two nodes is wrong")
        case Judgement.OPEN:
            if tested:
                trust.quarantine(write, node, "its self-test told nothing; another one follows", FARM)
