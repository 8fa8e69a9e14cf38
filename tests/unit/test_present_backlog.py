"""A farm at work: its backlog as a message and back, and when one more job would be done there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from common.cards import REFERENCE_CARDS
from common.catalog import load_catalog
from common.fit import encoding_of, smallest_class
from common.nodes import Card, Terms
from common.settings import Money, Settings, Timing
from common.shot import PlannedShot, Shot
from common.states import NodeState
from common.units import GIB
from common.views import BacklogView, BatchInHand, WaitingJob, WaitingLine
from coordinator.estimate.kinds import ImageKind
from coordinator.scheduling.changes import JobClosed
from coordinator.scheduling.placing import placing
from coordinator.simulate.course import Course
from coordinator.simulate.fleet import FleetNode, named_card
from coordinator.simulate.forecast import PlannedJob, cheapest_addition
from coordinator.simulate.present import backlog_view
from coordinator.simulate.workload import JOB, Standing, workload

CATALOG = load_catalog()
MODEL = CATALOG.models["sdxl"]
CARD = REFERENCE_CARDS[12]
SHOT = Shot("sdxl", "", "a mug", "", 0, 1024, 1024, 25, 6.0, MODEL.sampler)
#: An image takes about as many seconds on `CARD`.
IMAGE_S = 20.0
SPEED = IMAGE_S / (1.048576 * 25 * 2)


def kind(images: int) -> ImageKind:
    planned = PlannedShot(id="0" * 64, shot=SHOT, name="mug", template="a mug", group="a")
    return ImageKind(planned, images)


def line(job_id: str, images: int, upscaler: tuple[str, str, int, float] | None = None) -> WaitingLine:
    min_class = smallest_class(SHOT, MODEL)
    assert isinstance(min_class, int)
    return WaitingLine(
        job_id=job_id,
        images=images,
        min_class=min_class,
        model="sdxl",
        width=1024,
        height=1024,
        steps=25,
        guidance=6.0,
        sampler=MODEL.sampler,
        upscaler=upscaler,
    )


def job(job_id: str, *, owner: str = "ana", priority: int = 50) -> WaitingJob:
    return WaitingJob(
        id=job_id, owner=owner, lane="public", priority=priority, submitted_at=0.0, service_s=0.0
    )


def nodes(number: int, card: Card = CARD) -> list[FleetNode]:
    speeds = {"sdxl": SPEED}
    return [FleetNode(name=f"n{place}", card=card, loaded="sdxl", speeds=speeds) for place in range(number)]


TURBO = CATALOG.models["z-image-turbo"]
#: With too little memory for the text encoder.
LITTLE = replace(named_card("rtx-4060"), ram_bytes=6 * GIB)


def order(images: int, present: BacklogView, fleet: Sequence[FleetNode] = ()) -> PlannedJob:
    return PlannedJob(
        kinds=[kind(images)],
        nodes=fleet or nodes(2),
        catalog=CATALOG,
        settings=Settings(),
        standing=Standing("me"),
        present=present,
    )


def seconds(course: Course) -> float:
    return course.result.seconds


BUSY = BatchInHand(node_id="n0", line=line("other", 6), pass_size=2, since_s=5.0, image_s=IMAGE_S)


def test_what_a_farm_has_to_do_arrives_as_it_is() -> None:
    present = BacklogView(
        jobs=(job("other"), job("more", owner="ben", priority=80)),
        waiting=(line("other", 40), line("more", 7), line("more", 3, ("sharp", "sha256:00", 4, 36.0))),
        running=(BUSY,),
        usage={"ana": 120.0, "cleo": 10.0},
    )
    backlog = workload([], nodes(2), CATALOG, placing(CATALOG), Standing(), present).backlog
    assert backlog.serving["n0"].state is NodeState.BUSY
    backlog.apply(JobClosed(JOB))
    assert backlog_view(backlog, 0.0) == present


@pytest.mark.parametrize("versions", [{"diffusers": "1"}, {"diffusers": "2"}])
def test_what_waits_with_stored_embeddings_is_for_nodes_without_an_encoder(versions: dict[str, str]) -> None:
    turbo = CATALOG.models["z-image-turbo"]
    dtypes = encoding_of(turbo.recipe("gguf-q4-fp32"))
    waiting = line("other", 40).model_copy(
        update={
            "model": turbo.name,
            "embedded": (dtypes, {"diffusers": "1"}),
            "guidance": 0.0,
            "sampler": turbo.sampler,
            "min_class": 8,
        }
    )
    little = replace(REFERENCE_CARDS[8], ram_bytes=6 * GIB)
    fleet = [FleetNode(name="little", card=little, versions=versions)]
    present = BacklogView(jobs=(job("other"),), waiting=(waiting,))
    backlog = workload([], fleet, CATALOG, placing(CATALOG), Standing(), present).backlog
    (own,) = (each for each in backlog.lines if each.job_id == "other")
    assert backlog.takers("public", own) == ["little"] * (versions == {"diffusers": "1"})
    backlog.apply(JobClosed(JOB))
    assert backlog_view(backlog, 0.0) == present


def test_a_job_waits_for_urgent_ones_and_shares_with_its_equals() -> None:
    alone = seconds(order(20, BacklogView()).course(None))
    urgent = BacklogView(jobs=(job("other", priority=80),), waiting=(line("other", 40),))
    equal = BacklogView(jobs=(job("other"),), waiting=(line("other", 400),))
    humble = BacklogView(jobs=(job("other", priority=20),), waiting=(line("other", 400),))

    assert alone == pytest.approx(20 * IMAGE_S / 2, rel=0.1)
    assert seconds(order(20, urgent).course(urgent)) == pytest.approx(60 * IMAGE_S / 2, rel=0.1)
    assert 1.5 * alone < seconds(order(20, equal).course(equal)) < 3 * alone
    assert seconds(order(20, humble).course(humble)) == pytest.approx(alone, rel=0.1)


def test_a_job_waits_for_what_nodes_have_in_hand() -> None:
    present = BacklogView(jobs=(job("other"),), running=(BUSY,))
    course = order(2, present, nodes(1)).course(present)
    # Its node has rendered the first of six images for 5 s.
    assert seconds(course) == pytest.approx(8 * IMAGE_S - 5, abs=3)
    assert course.result.images == 2


def test_a_node_loads_as_long_as_it_has_measured() -> None:
    cold = [replace(node, loaded=None) for node in nodes(1)]
    measured = [replace(node, loads={"sdxl": 300.0}) for node in cold]
    known, quick = (order(20, BacklogView(), fleet).course(None) for fleet in (measured, nodes(1)))
    assert seconds(known) == pytest.approx(seconds(quick) + 300.0)


def test_work_of_a_model_that_the_catalog_lacks_is_left_out() -> None:
    unknown = line("other", 40).model_copy(update={"model": "gone"})
    present = BacklogView(jobs=(job("other", priority=80),), waiting=(unknown,))
    assert seconds(order(20, present).course(present)) == seconds(order(20, present).course(None))


def test_the_cheapest_cards_that_make_it_in_time_are_the_fewest_of_their_kind() -> None:
    asked = order(100, BacklogView())
    late_s = seconds(asked.course(asked.present)) / 2
    found = cheapest_addition(asked, late_s)
    assert found is not None
    (size,) = [size for size, card in REFERENCE_CARDS.items() if card.name == found.card]
    assert seconds(asked.with_cards(found.cards, size).course(asked.present)) <= late_s
    if found.cards > 1:
        assert seconds(asked.with_cards(found.cards - 1, size).course(asked.present)) > late_s
    assert found.per_hour == Money().card_per_hour[size] * found.cards > Decimal(0)


def test_no_cards_help_where_a_single_image_takes_too_long() -> None:
    assert cheapest_addition(order(10, BacklogView()), 0.5) is None


@pytest.mark.parametrize(("terms", "helps"), [("owned", True), ("volunteer", False)])
def test_a_node_without_a_text_encoder_gets_what_another_encodes_ahead(terms: Terms, helps: bool) -> None:
    shot = SHOT._replace(model=TURBO.name, steps=8, guidance=0.0, sampler=TURBO.sampler)
    planned = PlannedShot(id="0" * 64, shot=shot, name="mug", template="a mug", group="a")
    fleet = [FleetNode(name="big", card=CARD, terms=terms), FleetNode(name="little", card=LITTLE)]
    made = replace(order(1, BacklogView()), kinds=[ImageKind(planned, 200)], nodes=fleet).course(None).result
    shares = Counter[str]()
    for stint in made.stints:
        shares[stint.node] += stint.images
    assert sum(shares.values()) == 200
    assert bool(shares["little"]) == helps
    assert made.bound_s <= made.seconds


@pytest.mark.parametrize(("priority", "big", "images"), [(80, 1, 20), (80, 2, 3), (50, 1, 9)])
def test_a_node_without_a_text_encoder_waits_for_its_first_texts_only_so_long(
    priority: int, big: int, images: int
) -> None:
    """However urgent and long the work is that those with an encoder have."""
    shot = SHOT._replace(model=TURBO.name, steps=8, guidance=0.0, sampler=TURBO.sampler)
    planned = PlannedShot(id="0" * 64, shot=shot, name="mug", template="a mug", group="a")
    little = FleetNode(name="little", card=LITTLE, models=frozenset({TURBO.name}))
    present = BacklogView(jobs=(job("other", priority=priority),), waiting=(line("other", 150 * big),))
    asked = replace(order(1, present), kinds=[ImageKind(planned, images)], nodes=[*nodes(big), little])

    mine = [stint for stint in asked.course(present).result.stints if stint.model == TURBO.name]

    # Five usual batches, the one in hand (of four at the most), and loads and texts beside one more.
    batches = 5 + 4 + 2
    assert min(stint.begin for stint in mine if stint.node == "little") <= batches * Timing().batch_s
    assert sum(stint.images for stint in mine) == images
