"""A farm of six nodes renders as the simulation says: in its time, with its loads, around a node that slows.

Coordinator, broker, ingest and nodes are real. Engines only draw, and wait for as long as the catalog expects
such cards to render and load, at a tenth: so a card's time takes no processor.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Row, Select, func, select

from common.catalog import folder_identity, load_catalog
from common.fit import Fit, fit, plain_shot
from common.states import AttemptState
from common.views import JobView, Submit
from common.work import work_of
from coordinator.cli.planning import read_manifest
from coordinator.cli.watch import is_over
from coordinator.client import FarmClient
from coordinator.estimate import load_seconds, prior
from coordinator.estimate.kinds import count_kinds
from coordinator.ledger.measurements import Pace, learn, learn_load
from coordinator.ledger.schema import attempts, batches, images
from coordinator.simulate.course import course_of
from coordinator.simulate.fleet import FleetNode, fleet_node, named_card
from coordinator.simulate.views import Simulated
from coordinator.simulate.workload import Standing
from coordinator.submission.plan import make_plan
from tests.farm import QUICK, RunningFarm, running_farm
from tests.faults.engines import with_engine
from tests.ingest_worker import ingest_worker
from tests.node_process import NodeStarter
from tests.servers import running_valkey
from tests.waiting import until

pytestmark = pytest.mark.slow

#: Seconds of the test in a second of a card.
SCALE = 0.1
#: No node loses a lease because the machine is busy.
TIMING = QUICK.model_copy(update={"batch_s": 120 * SCALE, "lease_s": 120})
CARDS = ("rtx-4090", "rtx-3090", "rtx-4070", "rtx-4060ti", "rtx-4060", "rtx-3060")
LANES = ("public", *(f"only-{card}" for card in CARDS))
#: Model of the test to the one of the catalog whose times it has.
MODELS = {"small": "sdxl", "large": "z-image-turbo"}
#: With it, engines start before anything counts.
FIRST = "first"
STEPS = 4
NONE: Mapping[str, float] = {}


class Speed(NamedTuple):
    """What a card takes of a model, in seconds of the test."""

    image_s: float
    load_s: float


def speed(card: str, model: str) -> Speed:
    real, facts = load_catalog().models[MODELS[model]], named_card(card)
    shot = plain_shot(real)
    found = fit(shot, real, facts)
    assert isinstance(found, Fit)
    known = prior(shot, real, found, facts, shot.steps)
    assert known is not None
    return Speed(known.seconds * SCALE, load_seconds(real, found.recipe) * SCALE)


SPEEDS = {card: {model: speed(card, model) for model in MODELS} for card in CARDS}


def manifest(name: str, images: Mapping[str, int], lane: str = "public") -> str:
    shots = [
        {
            "name": model,
            "model": model,
            "prompt": f"a mug of {name}",
            "seeds": number,
            "size": "64x64",
            "steps": STEPS,
        }
        for model, number in images.items()
    ]
    return json.dumps({"version": 1, "name": name, "lane": lane, "shots": shots})


@dataclass(frozen=True, slots=True)
class Fleet:
    running: RunningFarm
    client: FarmClient
    folder: Path

    def pace(self, card: str, slower: float = 1.0) -> None:
        """Let a node take the time of its card, or so many times of it, from its next pass on."""
        profile = {
            model: {"image_s": one.image_s * slower, "load_s": one.load_s}
            for model, one in SPEEDS[card].items()
        }
        file = profile_of(self.folder, card)
        written = file.with_suffix(".new")
        written.write_text(json.dumps(profile | {FIRST: {"image_s": 0.0, "load_s": 0.0}}))
        written.replace(file)

    def simulated(self, text: str, slower: Mapping[str, float] = NONE) -> Simulated:
        """What the simulation says of a manifest on the nodes as they are, or some of them slower."""
        file, settings, catalog = self.folder / "m.yaml", self.running.settings, self.client.catalog()
        file.write_text(text)
        kinds, _ = count_kinds(make_plan(read_manifest(str(file), settings, catalog=catalog)).expansion)
        nodes = [slowed(fleet_node(node), slower.get(node.name, 1.0)) for node in self.client.nodes()]
        return course_of(kinds, nodes, catalog, settings, Standing(), present=self.client.backlog()).result

    def submit(self, text: str) -> str:
        return self.client.submit(Submit(manifest=text)).id

    def finished(self, job: str) -> JobView:
        found = until(lambda: self.client.job(job), is_over)
        assert found.counts == {"done": found.images}
        return found

    def rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self.running.farm.ledger.transactions.read() as connection:
            return connection.execute(query).all()

    def batches(self, job: str) -> Sequence[Row[Any]]:
        """The batches of a job, each with the number of its images."""
        done = attempts.c.state.in_((AttemptState.DELIVERED, AttemptState.STORED))
        query = select(batches, func.count().filter(done).label("images")).join_from(batches, attempts)
        return self.rows(query.where(batches.c.job_id == job).group_by(batches.c.id))

    def late_s(self, job: JobView, besides: str = "") -> list[float]:
        """Seconds that the batches of each node took longer than simulated: the load of the machine."""
        assert job.took_s is not None
        late: defaultdict[str, float] = defaultdict(float)
        for row in self.batches(job.id):
            known = SPEEDS[row.node_id][row.model]
            work_s = row.images * known.image_s + row.loads * known.load_s
            closed_at = row.closed_at or job.submitted_at + job.took_s
            late[row.node_id] += max(0.0, closed_at - row.leased_at - work_s)
        return [seconds for node, seconds in late.items() if node != besides]

    def delay_s(self, job: JobView, besides: str = "") -> float:
        """Seconds by which a busy machine may delay a job: claims take as much longer as batches do."""
        turns = Counter(row.node_id for row in self.batches(job.id) if row.node_id != besides)
        return max(self.late_s(job, besides)) * (1 + max(turns.values()))

    def warm_up(self) -> None:
        """Let every engine start, and the farm know its nodes as one that has rendered for long."""
        jobs = [self.submit(manifest(card, {FIRST: 1}, lane=f"only-{card}")) for card in CARDS]
        for job in jobs:
            self.finished(job)
        catalog = self.client.catalog()
        with self.running.farm.ledger.transactions.write() as write:
            for card, speeds in SPEEDS.items():
                for model, one in speeds.items():
                    shot = plain_shot(catalog.models[model])._replace(width=64, height=64, steps=STEPS)
                    amount = work_of(shot, catalog.models[model]).amount
                    learn(write, [Pace(card, model, one.image_s / amount)])
                    learn_load(write, card, model, one.load_s)


def slowed(node: FleetNode, slower: float) -> FleetNode:
    return replace(node, speeds={model: pace * slower for model, pace in node.speeds.items()})


def profile_of(folder: Path, card: str) -> Path:
    return folder / card / "profile.json"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with ExitStack() as ending:
        broker = ending.enter_context(running_valkey(folder / "valkey"))
        running = ending.enter_context(
            running_farm(folder, broker.url, timing=TIMING, catalogs=(catalog_of(folder),), node_lanes=LANES)
        )
        client = ending.enter_context(FarmClient(running.url, "operator-key"))
        (folder / "ingest").mkdir()
        ending.enter_context(ingest_worker(running, folder / "ingest"))
        fleet = Fleet(running, client, folder)
        for card in CARDS:
            (folder / card).mkdir()
            fleet.pace(card)
            ending.callback(started(running, folder, card).end)
        until(lambda: len(client.nodes()) == len(CARDS), evidence=lambda: said(folder))
        fleet.warm_up()
        yield fleet


def catalog_of(folder: Path) -> Path:
    """A catalog file of models without weights, each with a folder of its own; passes have two images."""
    models = {}
    (recipe,) = load_catalog().models["shotfarm-demo"].recipes
    for name in (FIRST, *MODELS):
        model = folder / "models" / name
        model.mkdir(parents=True)
        (model / "model_index.json").write_text(json.dumps({"name": name}))
        models[name] = {
            "like": "shotfarm-demo",
            "path": name,
            "identity": folder_identity(model),
            "recipes": [
                {
                    "name": recipe.name,
                    "compute_dtype": recipe.compute_dtype,
                    "weights": dict(recipe.weights),
                    "backends": list(recipe.backends),
                    "max_pass": 2,
                }
            ],
        }
    file = folder / "models.yaml"
    file.write_text(json.dumps({"models": models}))
    return file


def started(running: RunningFarm, folder: Path, card: str) -> NodeStarter:
    """A node of its own name and lane, whose engine follows the profile of its card."""
    home, facts = folder / card, {"name": card, "vram_gib": 24, "usable_gib": 22, "ram_gib": 32}
    (home / "card.yaml").write_text(json.dumps(facts | {"compute_capability": "8.9", "watts": 200}))
    variables = {"QUICK_PROFILE": str(profile_of(folder, card))} | with_engine("quick")
    starter = NodeStarter(folder / "models" / FIRST, home, variables)
    lanes = ("--lane", "public", "--lane", f"only-{card}")
    starter(running.url, "--name", card, "--card", str(home / "card.yaml"), *lanes)
    return starter


def said(folder: Path) -> str:
    return "\n".join((folder / card / "terminal.txt").read_text() for card in CARDS)


def test_two_groups_of_models_end_when_the_simulation_says_with_no_more_loads(fleet: Fleet) -> None:
    text = manifest("two", {"small": 80, "large": 50})
    foreseen = fleet.simulated(text)
    assert foreseen.images == 130
    assert {stint.model for stint in foreseen.stints} == set(MODELS)

    job = fleet.finished(fleet.submit(text))

    late_s = fleet.late_s(job)
    assert job.took_s is not None
    assert 0.9 * foreseen.seconds <= job.took_s <= 1.1 * foreseen.seconds + fleet.delay_s(job)
    # Nodes that a busy machine delays leave work to others, which load its model if that is faster.
    shortest_s = min(one.load_s for speeds in SPEEDS.values() for one in speeds.values())
    assert sum(row.loads for row in fleet.batches(job.id)) <= foreseen.loads + sum(late_s) // shortest_s


def test_a_node_that_slows_down_in_the_middle_of_a_job_loses_its_tail_to_others(fleet: Fleet) -> None:
    slow, factor, text = "rtx-4090", 3.0, manifest("one", {"small": 110})
    share = sum(stint.images for stint in fleet.simulated(text).stints if stint.node == slow)
    foreseen = fleet.simulated(text, {slow: factor})
    job = fleet.submit(text)
    held = attempts.c.node_id == slow, attempts.c.job_id == job, attempts.c.state == AttemptState.RUNNING
    # It has several passes before it.
    until(lambda: len(fleet.rows(select(attempts.c.id).where(*held))) >= 8)
    fleet.pace(slow, factor)

    ended = fleet.finished(job)

    rendered = fleet.rows(select(images.c.shot_id).where(images.c.node_id == slow, images.c.job_id == job))
    assert len(rendered) < 0.75 * share
    assert ended.took_s is not None
    # As on a farm where it is that slow from the start, but for a pass of two images that it has begun.
    begun_s = 2 * factor * SPEEDS[slow]["small"].image_s
    assert ended.took_s <= 1.1 * foreseen.seconds + begun_s + fleet.delay_s(ended, besides=slow)
