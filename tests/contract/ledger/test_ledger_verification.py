"""Images of volunteers are rendered again by others; false ones are found and replaced."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from sqlalchemy import update

from common.lanes import Lane, Lanes
from common.levels import Level, OwnerStanding
from common.likeness import COARSE, FINE
from common.messages import Lease
from common.states import ShotEvent, ShotState
from coordinator.ledger import verification
from coordinator.ledger.schema import (
    batches,
    deleted_images,
    images,
    jobs,
    monthly_charges,
    removals,
    standings,
    verifications,
)
from coordinator.ledger.standings import set_standing
from coordinator.ledger.transitions import move_shots
from coordinator.ledger.verification import bar
from tests.contract.ledger.bench import START, TIMING, Bench, Holder, placed, work
from tests.ledger_rules import check_ledger

DAY = 86_400.0


def true_hash(spec: dict[str, Any]) -> str:
    """What an honest node's image of a shot looks like: the generation changes nothing."""
    return _digits(Random(f"{spec['prompt']} {spec['seed']} {spec['steps']}"))


def noise(spec: dict[str, Any]) -> str:
    return _digits(Random(f"noise {spec['seed']} {spec.get('generation')}"))


def _digits(random: Random) -> str:
    return f"{random.getrandbits(4 * (COARSE + FINE)):0{COARSE + FINE}x}"


def somewhat(spec: dict[str, Any]) -> str:
    """Too far from the true image to be alike, too near to be another one."""
    return f"{int(true_hash(spec), 16) ^ int('3' * 30, 16):0{COARSE + FINE}x}"


def render(bench: Bench, lease: Lease, looks: Any = true_hash) -> None:
    for index, leased in enumerate(lease.shots):
        attempt_id = bench.deliver(lease, index, work(2.0, 100.0)).attempt_id
        bench.store(attempt_id, perceptual_hash=looks(leased.spec))
    bench.close(lease)


def work_off(bench: Bench, node: Holder, looks: Any = true_hash) -> int:
    """Render what there is for a node; returns how many images that were."""
    rendered = 0
    while (lease := node.claim().lease) is not None:
        render(bench, lease, looks)
        rendered += len(lease.shots)
    return rendered


def volunteer(bench: Bench, name: str = "vol", owner: str = "vic", **fields: Any) -> Holder:
    return bench.join(name, owner=owner, terms="volunteer", **fields)


def standing(bench: Bench, owner: str = "vic") -> OwnerStanding:
    with bench.ledger.transactions.backlog() as backlog:
        return backlog.standings[owner]


def verdicts(bench: Bench) -> list[str | None]:
    return [row.verdict for row in bench.rows(verifications)]


def in_self_test(bench: Bench) -> tuple[Holder, Holder]:
    """A volunteer's node in its self-test, with work for it, and one of the farm."""
    bench.past_the_grace()
    bench.submit(placed(40))
    vol, own = volunteer(bench), bench.join("own")
    vol.fail("device_lost", 3)
    bench.let_pass(TIMING.quarantine_s + TIMING.sweep_s, vol, own)
    assert bench.node_state("vol") == "selftest"
    return vol, own


@pytest.fixture(autouse=True)
def sound(bench: Bench) -> Iterator[None]:
    yield
    check_ledger(bench.ledger)


def test_a_farm_of_own_nodes_verifies_nothing(bench: Bench) -> None:
    bench.submit(placed(30))
    work_off(bench, bench.join("own"))
    work_off(bench, bench.join("rent", terms="rented"))

    assert bench.rows(verifications) == bench.rows(standings) == []
    assert len(bench.rows(jobs)) == 1


def test_the_first_images_of_an_owner_are_rendered_again_and_their_copies_deleted(bench: Bench) -> None:
    job = bench.submit(placed(8)).job_id
    vol = volunteer(bench)
    render(bench, vol.lease())
    render(bench, vol.lease())
    delivered = standing(bench).images
    assert (delivered > 0, standing(bench).clean) == (True, 0)

    bench.ledger.jobs.pause(job)
    assert work_off(bench, bench.join("own")) == delivered

    assert verdicts(bench) == ["clean"] * delivered
    assert standing(bench).clean == delivered
    assert {row.job_id for row in bench.rows(images)} == {job}
    uses = {(row.owner, row.use): row.images for row in bench.rows(monthly_charges)}
    assert uses["verification", "verification"] == delivered


def test_on_probation_an_owner_has_one_small_lease_whatever_its_nodes_are_called(bench: Bench) -> None:
    bench.submit(placed(40, width=500))
    first, second = volunteer(bench), volunteer(bench, "other")
    lease = first.lease()
    assert len(lease.shots) <= 4

    refused = second.claim()
    assert refused.nothing is not None
    assert "on probation" in refused.nothing.reason
    render(bench, lease)
    assert second.claim().lease is not None


def test_an_owner_rises_by_good_images_and_time(bench: Bench) -> None:
    volunteer(bench)
    assert level(bench) is Level.PROBATION
    earn(bench, 19)
    bench.clock.now += DAY
    assert level(bench) is Level.PROBATION
    bench.submit(placed(1))
    earn(bench, 19, images=300)
    work_off(bench, volunteer(bench))
    assert standing(bench).images == 301
    verify_all(bench, bench.join("own"))
    assert (standing(bench).clean, level(bench)) == (20, Level.PROVEN)

    earn(bench, 500)
    bench.clock.now += 6 * DAY
    assert level(bench) is Level.PROVEN
    bench.ledger.nodes.vouch("vol")
    assert level(bench) is Level.TRUSTED
    assert level(bench, "own") is Level.OWNED


def earn(bench: Bench, clean: int, *, owner: str = "vic", images: int = 0, **fields: Any) -> None:
    """Let an owner have delivered so many good images before."""
    found = OwnerStanding(since=START, images=max(images, clean), clean=clean, **fields)
    with bench.ledger.transactions.write() as write:
        set_standing(write, owner, found)


def own_nodes(bench: Bench) -> list[Holder]:
    return [bench.join("own"), bench.join("another")]


def verify_all(bench: Bench, *some: Holder, looks: Any = true_hash) -> None:
    """Let nodes render the copies that wait, nothing else, and again what one image does not decide."""
    active = [row.id for row in bench.rows(jobs) if row.verifies is None and row.intent == "active"]
    for job in active:
        bench.ledger.jobs.pause(job)
    while None in verdicts(bench):
        for node in some:
            work_off(bench, node, looks)
        bench.rest()
    for job in active:
        bench.ledger.jobs.resume(job)


def level(bench: Bench, name: str = "vol") -> Level:
    with bench.ledger.transactions.backlog() as backlog:
        return backlog.level(backlog.known(name))


def test_a_copy_that_failed_on_the_only_node_that_may_check_it_is_tried_there_again(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    vol = volunteer(bench)
    render(bench, vol.lease())
    bench.ledger.jobs.pause(job)
    own = bench.join("own")
    own.fail("flat_image")
    assert own.claim().lease is None
    bench.rest()

    # Not kept for the node whose image is checked.
    render(bench, own.lease())

    assert verdicts(bench) == ["clean"]


def test_noise_bars_the_owner_and_is_replaced_in_every_job(bench: Bench) -> None:
    first = bench.submit(placed(4), owner="ana").job_id
    second = bench.submit(placed(4), owner="ben").job_id
    vol = volunteer(bench)
    lease = vol.lease()
    fakes = {shot.id for shot in lease.shots}
    render(bench, lease, noise)

    own, another = own_nodes(bench)
    verify_all(bench, own, another)
    work_off(bench, own)

    assert "not what was asked for" in standing(bench).barred
    assert bench.node_state("vol") == "quarantined"
    assert {row.shot_id for row in bench.rows(deleted_images) if row.node_id == "vol"} == fakes
    assert not fakes & {row.shot_id for row in bench.rows(images)}
    for job in (first, second):
        assert bench.counts(job) == {"done": 4}
    assert {row.node_id for row in bench.rows(images)} == {"own"}
    # A later job gets no fake.
    third = bench.submit(placed(4), owner="cleo")
    assert third.reused == 0 or not fakes & {row.shot_id for row in bench.rows(images)}


def test_a_job_that_was_cancelled_when_its_images_were_false_has_others_once_it_is_requeued(
    bench: Bench,
) -> None:
    job = bench.submit(placed(4)).job_id
    render(bench, volunteer(bench).lease(), noise)
    bench.ledger.jobs.cancel(job)
    own, another = own_nodes(bench)
    verify_all(bench, own, another)
    assert bench.counts(job) == {"cancelled": 4}
    assert bench.rows(images) == []

    assert bench.ledger.jobs.requeue(job) == 4
    work_off(bench, own)
    assert bench.counts(job) == {"done": 4}
    assert {row.node_id for row in bench.rows(images)} == {"own"}


def test_what_an_owner_is_barred_for_outlives_restarts_names_and_self_tests(bench: Bench) -> None:
    bench.past_the_grace()
    bench.submit(placed(4))
    vol = volunteer(bench)
    render(bench, vol.lease(), noise)
    verify_all(bench, *own_nodes(bench))
    bench.submit(placed(20, first=100))

    for name in ("vol", "second"):
        again = volunteer(bench, name)
        assert bench.node_state(name) == "quarantined"
        assert again.claim().lease is None
    bench.clock.now += TIMING.quarantine_s
    again.beat()
    bench.ledger.sweep()
    assert bench.node_state("second") == "quarantined"
    bench.restart()
    assert volunteer(bench, "third").claim().lease is None

    bench.ledger.nodes.forgive("second")
    assert standing(bench).barred == ""
    assert len(volunteer(bench, "second").lease().shots) <= 4


@pytest.fixture
def unchosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "checked_share", lambda images: 0.0)


@pytest.mark.usefixtures("unchosen")
def test_images_before_the_false_one_are_verified_as_well(bench: Bench) -> None:
    bench.submit(placed(6))
    own, vol = own_nodes(bench), volunteer(bench)
    earn(bench, 5000)
    render(bench, vol.lease(), noise)
    render(bench, vol.lease())
    assert bench.rows(verifications) == [], "few of the images of a proven owner are chosen"

    with bench.ledger.transactions.write() as write:
        bar(write, bench.rules, "vic", "as a test")
    recalled = len(bench.rows(verifications))
    assert recalled == len(bench.rows(images))
    verify_all(bench, *own)

    assert sorted(set(map(str, verdicts(bench)))) == ["clean", "false"]
    kept = {row.attempt_id for row in bench.rows(images) if row.node_id == "vol"}
    assert kept == {row.attempt_id for row in bench.rows(verifications) if row.verdict == "clean"}


def test_one_noise_image_of_a_self_test_makes_no_node_ready(bench: Bench) -> None:
    vol, own = in_self_test(bench)

    render(bench, vol.lease(), noise)
    assert bench.node_state("vol") == "selftest"
    assert vol.claim().lease is None, "its answer is awaited"
    verify_all(bench, own, bench.join("another"))
    assert bench.node_state("vol") == "quarantined"
    assert standing(bench).barred


def test_a_self_test_that_another_node_agrees_with_makes_a_node_ready(bench: Bench) -> None:
    vol, own = in_self_test(bench)
    render(bench, vol.lease())
    verify_all(bench, own)
    assert bench.node_state("vol") == "ready"


@pytest.mark.parametrize(("third", "verdict"), [(true_hash, "false"), (somewhat, "clean"), (noise, None)])
def test_a_third_node_decides_where_two_differ_a_little(
    bench: Bench, third: Any, verdict: str | None
) -> None:
    bench.submit(placed(1))
    render(bench, volunteer(bench).lease(), somewhat)
    own, another = bench.join("own"), bench.join("another", terms="rented")
    assert work_off(bench, own) == 1, "the second opinion is for another node"
    assert verdicts(bench) == [None]
    assert work_off(bench, another, third)
    assert verdicts(bench) == [verdict]


def test_a_farm_of_one_node_leaves_open_what_it_cannot_decide(bench: Bench) -> None:
    bench.submit(placed(1))
    render(bench, volunteer(bench).lease(), somewhat)
    verify_all(bench, bench.join("own"))
    assert verdicts(bench) == ["open"]
    assert not standing(bench).barred


def test_one_broken_node_of_the_farm_bars_nobody(bench: Bench) -> None:
    bench.submit(placed(1))
    render(bench, volunteer(bench).lease())
    broken, own = bench.join("broken"), bench.join("own")
    work_off(bench, broken, noise)
    assert verdicts(bench) == [None]
    work_off(bench, own)
    assert verdicts(bench) == ["clean"]


@pytest.mark.parametrize(
    ("recipe", "looks", "verdict"),
    [
        ("int4", noise, "false"),
        ("int4", somewhat, "open"),
        ("bf16+compiled", noise, "false"),
        ("bf16+compiled", somewhat, "false"),
    ],
)
def test_noise_is_found_whatever_the_recipe_that_its_node_chose(
    bench: Bench, recipe: str, looks: Any, verdict: str
) -> None:
    bench.submit(placed(1))
    render(bench, volunteer(bench).lease(), looks)
    with bench.engine.begin() as connection:
        connection.execute(update(verifications).values(recipe=recipe))
    verify_all(bench, *own_nodes(bench))
    assert verdicts(bench) == [verdict]


def test_one_node_of_the_farm_quarantines_at_most(bench: Bench) -> None:
    """It may be the one that is wrong, the same each time."""
    job = bench.submit(placed(1)).job_id
    render(bench, volunteer(bench).lease())
    verify_all(bench, bench.join("broken"), looks=lambda spec: "5" * (COARSE + FINE))
    assert verdicts(bench) == ["doubtful"]
    assert (standing(bench).barred, standing(bench).clean) == ("", 0)
    row = bench.node_row("vol")
    assert (row.state, row.reason[:6]) == ("quarantined", "broken")
    assert "one of the two nodes is wrong" in row.reason
    assert bench.counts(job) == {"done": 1}, "nothing proves that its image is false"


def test_what_one_node_contradicted_is_replaced_once_the_owner_is_barred(bench: Bench) -> None:
    jobs_of_people = [bench.submit(placed(1)).job_id]
    vol, (own, another) = volunteer(bench), own_nodes(bench)
    render(bench, vol.lease(), noise)
    verify_all(bench, own)
    assert verdicts(bench) == ["doubtful"]
    bench.ledger.nodes.forgive("vol")
    jobs_of_people.append(bench.submit(placed(1, first=50)).job_id)
    render(bench, vol.lease(), noise)
    verify_all(bench, own, another)
    assert verdicts(bench) == ["doubtful", "false"]

    work_off(bench, own)
    assert [bench.counts(job) for job in jobs_of_people] == [{"done": 1}] * 2
    assert {row.node_id for row in bench.rows(images)} == {"own"}


@pytest.mark.usefixtures("unchosen")
def test_one_node_is_enough_against_an_owner_that_is_barred(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    vol, own = volunteer(bench), bench.join("own")
    render(bench, vol.lease(), noise)
    with bench.ledger.transactions.write() as write:
        bar(write, bench.rules, "vic", "as a test")
    verify_all(bench, own)
    assert verdicts(bench) == ["doubtful"]

    work_off(bench, own)
    assert bench.counts(job) == {"done": 1}
    assert [row.node_id for row in bench.rows(images)] == ["own"]


def test_a_shot_that_is_rendered_again_after_a_deletion_is_verified_again(bench: Bench) -> None:
    """By the same copy, which had a position among the removals."""
    vol, own = volunteer(bench), bench.join("own")
    for _ in range(2):
        job = bench.submit(placed(1)).job_id
        render(bench, vol.lease())
        assert work_off(bench, own) == 1
        (image,) = bench.rows(images)
        bench.ledger.images.delete(image.shot_id, "ana", job)
    assert verdicts(bench) == ["clean", "clean"]
    assert len({row.position for row in bench.rows(removals) if row.job_id.startswith("v-")}) == 2


def test_nothing_is_earned_before_twenty_images_were_found_right(bench: Bench) -> None:
    bench.submit(placed(8))
    vol = volunteer(bench)
    earn(bench, 0, images=500)
    lease = vol.lease()
    render(bench, lease, noise)
    assert (standing(bench).clean, len(verdicts(bench))) == (0, len(lease.shots))


@pytest.mark.parametrize("looks", [true_hash, noise])
def test_a_verifier_that_a_node_of_the_farm_contradicts_is_in_quarantine_not_barred(
    bench: Bench, looks: Any
) -> None:
    bench.clock.now += DAY
    bench.submit(placed(1))
    vic, eve = volunteer(bench), volunteer(bench, "eve", "eve")
    render(bench, eve.lease())
    # A broken node of the farm comes first, an upright verifier agrees with the image.
    earn(bench, 20)
    work_off(bench, bench.join("broken"), lambda spec: "5" * (COARSE + FINE))
    work_off(bench, vic, looks)
    if verdicts(bench) == [None]:
        work_off(bench, bench.join("own"))
    assert verdicts(bench) == ["clean"]
    assert bench.node_state("vol") == ("ready" if looks is true_hash else "quarantined")
    assert standing(bench).barred == ""


def copy_of(bench: Bench) -> Any:
    (row,) = bench.rows(verifications)
    return row


def test_a_copy_that_ingest_did_not_see_is_rendered_again(bench: Bench) -> None:
    bench.submit(placed(1))
    render(bench, volunteer(bench).lease())
    own, first = bench.join("own"), copy_of(bench).copy_id
    lease = own.lease()
    bench.store(bench.deliver(lease).attempt_id, outcome="duplicate")
    bench.close(lease)
    assert copy_of(bench).copy_id != first
    assert work_off(bench, own) == 1
    assert verdicts(bench) == ["clean"]


@pytest.mark.parametrize(
    ("state", "verdict"),
    [("failed", None), ("unschedulable", "open"), ("cancelled", "open"), ("waiting", None)],
)
def test_the_sweep_goes_on_where_the_copy_does_not(bench: Bench, state: str, verdict: str | None) -> None:
    bench.past_the_grace()
    bench.submit(placed(1))
    render(bench, volunteer(bench).lease())
    first = copy_of(bench).copy_id
    (job,) = [row.id for row in bench.rows(jobs) if row.verifies]
    match state:
        case "cancelled":
            bench.ledger.jobs.cancel(job)
        case "unschedulable":
            with bench.ledger.transactions.write() as write:
                move_shots(write, [first], ShotState.WAITING, ShotEvent.OUTGROWN)
        case "failed":
            for name in ("own", "another", "third"):
                bench.join(name).fail("render_error")
    bench.let_pass(TIMING.retry_s + 2 * TIMING.sweep_s)
    assert verdicts(bench) == [verdict]
    assert (copy_of(bench).copy_id != first) == (state == "failed")


def test_nodes_are_not_told_what_is_a_copy(bench: Bench) -> None:
    bench.submit(placed(1), owner="cleo")
    render(bench, volunteer(bench).lease())
    lease = bench.join("own").lease()
    assert lease.owner == "cleo"
    assert "generation" not in lease.shots[0].spec
    assert bench.rows(batches)[-1].job_id.startswith("v-")


def test_old_verifications_are_removed(bench: Bench) -> None:
    bench.restart(keep_s=10 * DAY)
    bench.submit(placed(2))
    vol = volunteer(bench)
    render(bench, vol.lease())
    verify_all(bench, *own_nodes(bench))
    bench.thin()
    assert bench.rows(verifications)
    bench.clock.now += 11 * DAY
    bench.thin()
    assert bench.rows(verifications) == []
    assert bench.rows(images)


def test_leases_of_own_nodes_hold_no_volunteer_back(bench: Bench) -> None:
    bench.submit(placed(40, width=500))
    bench.join("own", owner="vic").lease()
    assert volunteer(bench).claim().lease is not None


@pytest.mark.usefixtures("unchosen")
def test_what_its_node_repeats_for_other_seeds_is_verified(bench: Bench) -> None:
    bench.submit(placed(4))
    vol = volunteer(bench)
    earn(bench, 5000)
    stale = _digits(Random("stale"))
    render(bench, vol.lease(), lambda spec: stale)
    assert {row.why for row in bench.rows(verifications)} == {"repeated"}


def test_proven_owners_verify_images_of_others_but_not_their_own(bench: Bench) -> None:
    bench.clock.now += DAY
    bench.submit(placed(2))
    vic, eve = volunteer(bench), volunteer(bench, "eve", "eve")
    earn(bench, 20)
    render(bench, eve.lease())
    assert eve.claim().lease is None

    assert work_off(bench, vic, noise), "it looks false, but one volunteer is not enough"
    assert set(verdicts(bench)) == {None}
    bench.rest()
    work_off(bench, bench.join("own"))
    assert set(verdicts(bench)) == {"clean"}
    assert bench.node_state("vol") == "quarantined", "one node of the farm says that its opinion was false"
    assert not standing(bench).barred
    assert not standing(bench, "eve").barred


def test_an_operator_discards_all_images_of_a_node(bench: Bench) -> None:
    job = bench.submit(placed(6)).job_id
    node = bench.join("broken")
    work_off(bench, node)
    assert bench.ledger.nodes.discard_images("broken", "ana") == 6
    assert bench.counts(job) == {"waiting": 6}
    assert bench.rows(images) == []
    assert {row.deleted_by for row in bench.rows(deleted_images)} == {"ana"}


@pytest.mark.parametrize(("lane", "is_checked"), [("vics", False), ("public", True)])
def test_only_lanes_of_its_own_are_not_shown_to_others(bench: Bench, lane: str, is_checked: bool) -> None:
    """In other lanes jobs of others get the same images."""
    bench.restart(lanes=Lanes({"vics": Lane(privacy="dedicated", owner="vic")}))
    bench.submit(placed(3), owner="vic", lane=lane)
    vol = volunteer(bench, lanes=(lane,))
    render(bench, vol.lease(lane=lane), noise)
    assert bool(bench.rows(verifications)) == is_checked


def test_a_cancelled_job_of_verifications_is_replaced_by_another(bench: Bench) -> None:
    bench.submit(placed(8))
    vol = volunteer(bench)
    render(bench, vol.lease())
    (first,) = [row.id for row in bench.rows(jobs) if row.verifies == "vic"]
    bench.ledger.jobs.cancel(first)
    render(bench, vol.lease())
    assert len([row for row in bench.rows(jobs) if row.verifies == "vic"]) == 2
