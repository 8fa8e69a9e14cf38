"""An image is found by what a picture shows, also when few bits of its hash differ."""

from __future__ import annotations

from random import Random

import pytest

from common.likeness import COARSE, FINE
from coordinator.ledger.schema import hash_parts
from tests.contract.ledger.bench import SHA, Bench, placed
from tests.contract.ledger.test_ledger_verification import true_hash, verify_all, volunteer, work_off

RANDOM = Random(3)
LONG = 4 * (COARSE + FINE)
HASH = f"{RANDOM.getrandbits(LONG):0{COARSE + FINE}x}"


def changed(coarse: int, fine: int, of: str = HASH) -> str:
    """With so many bits turned, wherever they are."""
    bits = RANDOM.sample(range(4 * FINE, LONG), coarse) + RANDOM.sample(range(4 * FINE), fine)
    return f"{int(of, 16) ^ sum(1 << bit for bit in bits):0{COARSE + FINE}x}"


def made(bench: Bench, *hashes: str, owner: str = "ana", first: int = 0) -> list[str]:
    """Shots of an owner with images of these hashes, the newest last."""
    bench.submit(placed(len(hashes), first=first), owner=owner)
    lease = bench.join().lease()
    for index, one in enumerate(hashes):
        bench.store(bench.deliver(lease, index).attempt_id, perceptual_hash=one)
    bench.close(lease)
    return [shot.id for shot in lease.shots]


@pytest.mark.parametrize("change", [(0, 0), (1, 10), (2, 36), (3, 45)])
def test_a_copy_that_was_saved_again_is_found_wherever_its_hash_differs(
    bench: Bench, change: tuple[int, int]
) -> None:
    (shot,) = made(bench, HASH)
    for _ in range(10):
        found = bench.ledger.images.made_alike(changed(*change))
        assert found is not None
        assert (found.shot_id, found.deleted_at) == (shot, None)


@pytest.mark.parametrize("change", [(2, 60), (9, 10), (30, 280)])
def test_another_picture_is_not_found(bench: Bench, change: tuple[int, int]) -> None:
    made(bench, HASH)
    assert bench.ledger.images.made_alike(changed(*change)) is None


def test_the_most_alike_is_told_of_what_the_owner_has_and_a_stored_one_first(bench: Bench) -> None:
    near, far = made(bench, changed(2, 4), changed(2, 20))
    (others,) = made(bench, HASH, owner="bo", first=50)
    images = bench.ledger.images

    def told(owner: str | None = None) -> tuple[str, bool] | None:
        found = images.made_alike(HASH, owner)
        return found and (found.shot_id, found.deleted_at is None)

    assert (told(), told("ana"), told("cleo")) == ((others, True), (near, True), None)
    images.delete(near, "ana")
    assert told("ana") == (far, True)
    images.delete(far, "ana")
    assert told("ana") == (near, False)


def test_withheld_images_and_copies_that_are_compared_are_not_found(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    bench.store(bench.deliver(lease).attempt_id, perceptual_hash=HASH, withheld="x: nsfw 0.90")
    bench.close(lease)
    assert bench.ledger.images.made_alike(HASH) is None
    assert bench.ledger.images.made(SHA) is None
    bench.ledger.images.approve(lease.shots[0].id)
    assert bench.ledger.images.made_alike(HASH) is not None

    known = len(bench.rows(hash_parts))
    bench.submit(placed(1, first=90))
    work_off(bench, volunteer(bench))
    assert len(bench.rows(hash_parts)) == known + 4
    verify_all(bench, bench.join("own"), looks=true_hash)
    assert len(bench.rows(hash_parts)) == known + 4
