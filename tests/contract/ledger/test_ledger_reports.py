"""Reports: each counts once, and only from who holds the lease."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.errors import Conflict, Gone, Invalid, NotFound, WrongToken
from common.messages import Ack, GrantRequest, Lease, Report, Spent, Verdict
from coordinator.ledger import Reported
from coordinator.ledger.schema import images, nodes, speeds
from tests.contract.ledger.bench import SHA, Bench, good, placed, work
from tests.ledger_rules import check_ledger


def _grant(bench: Bench, lease: Lease, token: str | None = None) -> str:
    wish = _wish(lease, 0)
    own = wish.model_copy(update={"token": token or lease.token})
    return good(bench.ledger.batches.grants([(lease.batch_id, own)]))


def _wish(lease: Lease, index: int) -> GrantRequest:
    return GrantRequest(
        token=lease.token,
        shot_id=lease.shots[index].id,
        sha256=SHA,
        size=100,
        content_type="image/png",
    )


def test_a_shot_goes_from_claim_to_stored_with_its_sidecar(bench: Bench) -> None:
    job = bench.submit(placed(1))
    lease = bench.join().lease()
    shot_id = lease.shots[0].id

    reported = bench.deliver(lease, spent=work(2.0, 100.0, decode=0.5, upload=4.0))
    assert (reported.state, reported.repeated) == ("delivered", False)
    assert bench.store(reported.attempt_id, seconds=0.1).state == "done"
    bench.close(lease)

    assert bench.transitions(shot_id) == ["claimed", "delivered", "stored"]
    (image,) = bench.rows(images)
    assert (image.key, image.sha256, image.node_id) == (f"images/{shot_id[:2]}/{shot_id}.png", SHA, "node")
    assert (image.template, image.prompt) == ("a {colour} mug", "a red mug")
    assert (image.joules, image.energy_method) == (100.0, "sampled")
    assert image.seconds["decode"] == 0.5
    assert image.seconds["ingest"] == 0.1
    view = bench.ledger.shots.of_job(job.job_id)[0]
    assert (view.state, view.sha256, view.node, view.name) == ("done", SHA, "node", "tiny-0")
    assert bench.ledger.jobs.view(job.job_id).status == "done"


def test_a_repeated_report_is_answered_alike_and_counts_once(bench: Bench) -> None:
    job = bench.submit(placed(1))
    lease = bench.join().lease()

    first, second = bench.deliver(lease), bench.deliver(lease)

    assert (first.repeated, second.repeated) == (False, True)
    assert first.attempt_id == second.attempt_id
    assert bench.transitions(lease.shots[0].id) == ["claimed", "delivered"]
    cost = bench.ledger.jobs.view(job.job_id).cost
    bench.deliver(lease)
    assert bench.ledger.jobs.view(job.job_id).cost == cost


def test_a_repeated_failure_counts_once(bench: Bench) -> None:
    _, lease = bench.leased()
    bench.fail(lease, "flat_image")

    assert bench.fail(lease, "flat_image").repeated
    assert bench.shot_row(lease.shots[0].id).attempts == 1


def test_a_message_with_a_nul_is_kept_without_it(bench: Bench) -> None:
    _, lease = bench.leased()
    bench.close(lease, "failed", failure="lora_rejected", message="bad\0 file")

    assert bench.shot_row(lease.shots[0].id).reason == "bad file"


def test_a_wrong_token_is_gone(bench: Bench) -> None:
    _, lease = bench.leased()

    with pytest.raises(Gone, match="token"):
        bench.deliver(lease.model_copy(update={"token": "stolen"}))
    with pytest.raises(Gone, match="token"):
        _grant(bench, lease, "stolen")


def test_a_lease_that_is_over_takes_no_reports(bench: Bench) -> None:
    _, lease = bench.leased()
    bench.join()

    with pytest.raises(Gone, match="vanished"):
        bench.deliver(lease)
    with pytest.raises(Gone, match="vanished"):
        bench.close(lease)
    with pytest.raises(Gone, match="vanished"):
        _grant(bench, lease)


def test_a_report_that_was_in_time_is_repeated_after_the_lease(bench: Bench) -> None:
    _, lease = bench.leased()
    bench.deliver(lease)
    bench.join()

    assert bench.deliver(lease).repeated


def test_an_upload_is_granted_below_its_batch_and_once(bench: Bench) -> None:
    _, lease = bench.leased()

    assert _grant(bench, lease) == f"quarantine/{lease.batch_id}/{lease.shots[0].id}/{SHA}"
    bench.deliver(lease)
    with pytest.raises(Conflict, match="needs no upload"):
        _grant(bench, lease)


def test_a_report_must_not_contradict_itself(bench: Bench) -> None:
    _, lease = bench.leased(2)
    shot_id = lease.shots[0].id

    for wrong in (
        Report(token=lease.token, shot_id=shot_id, outcome="delivered"),
        Report(token=lease.token, shot_id=shot_id, outcome="delivered", key="x", sha256=SHA, size=1),
        Report(token=lease.token, shot_id=shot_id, outcome="failed"),
        Report(
            token=lease.token, shot_id=shot_id, outcome="failed", failure="stalled", spent=work(1, play=1)
        ),
    ):
        with pytest.raises(Invalid):
            bench.report(lease, wrong)
    with pytest.raises(NotFound, match="does not contain shot"):
        bench.report(lease, Report(token=lease.token, shot_id="0" * 64, outcome="failed"))
    assert bench.shot_row(shot_id).state == "running"


def _reports(lease: Lease, spent: Spent | None = None) -> list[tuple[str, Report]]:
    """One of each shot of a lease, delivered."""
    told = {"outcome": "delivered", "sha256": SHA, "size": 100, "spent": spent or work(2.0, 100.0)}
    held = {"peak_bytes": 2**30, "fingerprint": {"pass": 2}}
    return [
        (lease.batch_id, Report(token=lease.token, shot_id=one.id, **told, **held)) for one in lease.shots
    ]


def _verdicts(attempts: list[str]) -> list[tuple[str, Verdict]]:
    return [(one, Verdict(outcome="stored", attempt_id=one, sha256=SHA, size=100)) for one in attempts]


def test_more_pictures_in_one_commit_take_no_more_statements(bench: Bench) -> None:
    """From the grants to the verdicts; each picture is a parameter."""
    taken = []
    for number in (2, 40):
        bench.clear()
        bench.submit(placed(number + 2))
        node = bench.join()
        bench.finish(node.lease(), work(0.001))
        lease = node.lease()
        assert len(lease.shots) == number
        wishes = [(lease.batch_id, _wish(lease, index)) for index in range(number)]
        with bench.counted_statements() as statements:
            bench.ledger.batches.grants(wishes)
            reported = bench.ledger.batches.reports(_reports(lease))
            attempts = [one.attempt_id for one in reported if isinstance(one, Reported) and one.attempt_id]
            bench.ledger.ingest.deliveries(attempts)
            answers = bench.ledger.ingest.verdicts(_verdicts(attempts))
        assert [answer.state for answer in answers if isinstance(answer, Ack)] == ["done"] * number
        taken.append(len(statements))
    few, many = taken
    assert many <= few


def test_a_report_that_is_wrong_hinders_no_other_of_its_commit(bench: Bench) -> None:
    job = bench.submit(placed(4))
    lease = bench.join().lease()
    first, second = _reports(lease)
    unsized = second[1].model_copy(update={"size": None})
    stolen = first[1].model_copy(update={"token": "stolen"})

    answers = bench.ledger.batches.reports(
        [(lease.batch_id, unsized), first, (lease.batch_id, stolen), ("b-none", first[1]), first]
    )

    assert [type(answer) for answer in answers] == [Invalid, Reported, WrongToken, NotFound, Reported]
    accepted, again = answers[1], answers[4]
    assert isinstance(accepted, Reported)
    assert again == replace(accepted, repeated=True)
    assert bench.counts(job.job_id) == {"waiting": 2, "running": 1, "delivered": 1}
    check_ledger(bench.ledger)


def test_reports_and_verdicts_of_one_commit_come_to_what_single_ones_do(bench: Bench) -> None:
    """Of several nodes, with a repeated one and a failure among them."""
    outcomes = []
    for size in (1, 100):
        bench.clear()
        job = bench.submit(placed(8))
        leases = [bench.join(name).lease() for name in ("a", "b")]
        reports = [one for lease in leases for one in _reports(lease, work(2.0 + len(lease.shots), 50.0))]
        reports[1] = _failed(reports[1])
        reports.append(reports[0])
        answers = [
            one
            for begin in range(0, len(reports), size)
            for one in bench.ledger.batches.reports(reports[begin : begin + size])
        ]
        attempts = [one.attempt_id for one in answers if isinstance(one, Reported) and one.attempt_id]
        verdicts = _verdicts(attempts)
        for begin in range(0, len(verdicts), size):
            bench.ledger.ingest.verdicts(verdicts[begin : begin + size])
        check_ledger(bench.ledger)
        kept = [(row.node_id, row.seconds) for row in bench.rows(speeds)]
        records = [row.record for row in bench.rows(nodes)]
        outcomes.append((bench.counts(job.job_id), bench.ledger.jobs.view(job.job_id).cost, kept, records))
    single, gathered = outcomes
    assert gathered == single


def _failed(report: tuple[str, Report]) -> tuple[str, Report]:
    batch_id, told = report
    failed = {"outcome": "failed", "failure": "flat_image", "sha256": None, "size": None, "peak_bytes": None}
    return batch_id, told.model_copy(update=failed)
