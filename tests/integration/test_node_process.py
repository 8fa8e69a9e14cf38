"""`farm-node run` as people start it: a process, a real broker, and a coordinator that answers by script."""

from __future__ import annotations

import itertools
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.celeryapp import Publisher
from common.messages import Lease, OrderedShot
from common.shot import Shot
from tests.engine_talk import shot
from tests.scripted_farm import ScriptedFarm, running_farm
from tests.servers import ValkeyServer

pytestmark = pytest.mark.timeout(600)

QUEUE = "render.public.vram08"
EXIT_WITHIN_S = 180

StartNode = Callable[[str], "Node"]

_HELD = "compute_dtype: float32, backends: [cpu], weights: {text_encoder: float32, vae: float32, transformer"
RECIPE = f"{{name: fp32, {_HELD}: float32}}}}"
#: The catalog names no file for it.
GGUF_RECIPE = f"{{name: gguf, {_HELD}: gguf-q8}}}}"


class Node:
    """A node process whose terminal is a file."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.terminal = folder / "terminal.txt"
        with self.terminal.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=os.environ | {"COLUMNS": "200"}, stderr=output, stdout=output
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(EXIT_WITHIN_S)

    def wait_until_it_says(self, words: str) -> None:
        """Fails the test if the process ends before."""
        process = os.pidfd_open(self.process.pid)
        while words not in self.said:
            ended, _, _ = select.select([process], [], [], 0.1)
            assert not ended, self.said
        os.close(process)

    @property
    def said(self) -> str:
        return self.terminal.read_text()


@pytest.fixture
def start_node(tiny_model: Path, tmp_path: Path) -> Iterator[StartNode]:
    (tmp_path / "catalog.yaml").write_text(
        f"models:\n  tiny: {{like: shotfarm-demo, path: {tiny_model.name}, identity: null}}\n"
        f"  tiny-both: {{like: tiny, recipes: [{GGUF_RECIPE}, {RECIPE}]}}\n"
        f"  tiny-gguf: {{like: tiny, recipes: [{GGUF_RECIPE}]}}\n"
    )
    (tmp_path / "key").write_text("secret\n")
    card = Path(__file__).parents[2] / "manifests" / "cards" / "gtx-1070.yaml"
    nodes: list[Node] = []

    def start(url: str) -> Node:
        command = [sys.executable, "-m", "gpu_node.cli", "run", "--farm", url, "--key", "key"]
        command += ["--name", "n1", "--card", str(card), "--models", str(tiny_model.parent)]
        command += ["--catalog", "catalog.yaml", "--home", "home"]
        nodes.append(Node(command, tmp_path))
        return nodes[-1]

    yield start
    for node in nodes:
        node.process.kill()
        node.process.wait()


@pytest.fixture
def farm(valkey_server: ValkeyServer) -> ScriptedFarm:
    return ScriptedFarm(broker_url=valkey_server.url)


@contextmanager
def tickets(url: str) -> Iterator[Callable[[str], None]]:
    publisher = Publisher(url)
    try:
        yield lambda ticket: publisher.publish_ticket(QUEUE, ticket)
    finally:
        publisher.close()


def lease(*shots: Shot) -> Lease:
    ordered = tuple(OrderedShot(id=one.id, attempt_id=f"a-{one.seed}", spec=one.to_dict()) for one in shots)
    return Lease(
        batch_id="b-1", token="t-1", lease_s=20, model="tiny", recipe="fp32", pass_size=1, shots=ordered
    )


def test_a_node_joins_with_what_it_is_and_holds(farm: ScriptedFarm, start_node: StartNode) -> None:
    with running_farm(farm):
        node = start_node(farm.url)
        farm.wait_for(lambda: farm.joins)

        join = farm.joins[0]
        assert (join.name, join.card.name, join.card.backend) == ("n1", "GTX 1070", "cpu")
        assert join.card.compute_capability is None
        assert "tiny" in join.models
        assert "tiny-both" in join.models
        assert join.missing_recipes == {"tiny-both": ("gguf",)}
        assert "tiny-gguf" not in join.models
        assert "not offered: tiny-gguf: recipe gguf needs a gguf-q8 file" in node.said
        assert "torch" in join.versions
        assert node.stop() == 0


def test_a_ticket_becomes_a_claim_and_its_lease_pictures(farm: ScriptedFarm, start_node: StartNode) -> None:
    one = shot()
    farm.leases.append(lease(one))
    with running_farm(farm), tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        publish("ticket-1")
        farm.wait_for(lambda: farm.closes)

        assert [claim.ticket for claim in farm.claims] == ["ticket-1"]
        assert [report.shot_id for report in farm.reports] == [one.id]
        assert len(farm.stored) == 1
        assert node.stop(signal.SIGINT) == 0


def test_a_ticket_whose_answer_was_lost_is_presented_again(farm: ScriptedFarm, start_node: StartNode) -> None:
    one = shot()
    farm.leases.append(lease(one))
    farm.refusals["claims"].extend([503, 502])
    with running_farm(farm), tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        publish("ticket-1")
        farm.wait_for(lambda: farm.closes)

        assert [claim.ticket for claim in farm.claims] == ["ticket-1"]
        assert [report.shot_id for report in farm.reports] == [one.id]
        assert node.stop() == 0


def test_a_stopped_node_hands_back_what_it_has_not_begun(farm: ScriptedFarm, start_node: StartNode) -> None:
    shots = [shot(seed=seed, steps=40) for seed in range(200)]
    farm.leases.append(lease(*shots))
    with running_farm(farm), tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        publish("ticket-1")
        farm.wait_for(lambda: any(beat.steps_done for beat in farm.beats))

        assert node.stop() == 0
        begun = {report.shot_id for report in farm.reports}
        assert begun == {one.id for one in shots[: len(begun)]}
        assert 0 < len(begun) < len(shots)
        assert [close.outcome for close in farm.closes] == ["released"]


def test_a_node_whose_incarnation_is_over_joins_again_and_works_on(
    farm: ScriptedFarm, start_node: StartNode
) -> None:
    one = shot()
    with running_farm(farm), tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        farm.wait_for(lambda: farm.beats)
        before = len(farm.joins)
        farm.refusals["beats"].append(410)
        farm.wait_for(lambda: len(farm.joins) > before)
        farm.leases.append(lease(one))
        # The ended intake may swallow a ticket; the farm puts lost ones out again, and so does this.
        numbers = itertools.count()
        farm.wait_for(lambda: farm.closes or publish(f"ticket-{next(numbers)}"))

        assert all(claim.incarnation > before for claim in farm.claims)
        assert [report.shot_id for report in farm.reports] == [one.id]
        assert node.stop() == 0


def test_a_node_says_whether_the_same_process_has_joined_before(
    farm: ScriptedFarm, start_node: StartNode
) -> None:
    with running_farm(farm):
        node = start_node(farm.url)
        farm.wait_for(lambda: farm.beats)
        first, before = farm.joins[-1], len(farm.joins)
        farm.refusals["beats"].append(410)
        farm.wait_for(lambda: len(farm.joins) > before)
        again = farm.joins[-1]
        assert node.stop() == 0
        before = len(farm.joins)
        node = start_node(farm.url)
        farm.wait_for(lambda: len(farm.joins) > before)
        fresh = farm.joins[-1]
        assert node.stop() == 0

    assert (first.again, again.again, fresh.again) == (False, True, False)
    assert first.process == again.process
    assert first.process != fresh.process


def test_a_node_whose_name_another_has_taken_ends_with_a_sentence(
    farm: ScriptedFarm, start_node: StartNode
) -> None:
    with running_farm(farm):
        node = start_node(farm.url)
        farm.wait_for(lambda: farm.beats)
        farm.refusals["joins"].append(409)
        farm.refusals["beats"].append(410)

        assert node.process.wait(EXIT_WITHIN_S) == 1
        assert "the script says 409" in node.said
        assert "Traceback" not in node.said


def test_a_node_waits_for_a_farm_that_is_away_and_says_so(farm: ScriptedFarm, start_node: StartNode) -> None:
    with running_farm(farm):
        url = farm.url
    node = start_node(url)
    node.wait_until_it_says("does not answer")

    with running_farm(farm, port=int(url.rpartition(":")[2])):
        farm.wait_for(lambda: farm.joins)
        assert node.said.count("does not answer") == 1
        assert node.stop() == 0


def test_work_goes_on_when_the_broker_comes_back(own_valkey: ValkeyServer, start_node: StartNode) -> None:
    farm = ScriptedFarm(broker_url=own_valkey.url)
    with running_farm(farm), tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        publish("ticket-1")
        farm.wait_for(lambda: farm.claims)
        own_valkey.kill()
        own_valkey.start()
        farm.leases.append(lease(shot()))
        publish("ticket-2")
        farm.wait_for(lambda: farm.closes)

        assert len(farm.reports) == 1
        assert node.stop() == 0


def test_the_second_signal_ends_a_node_and_its_engine_at_once(
    farm: ScriptedFarm, start_node: StartNode
) -> None:
    farm.leases.append(lease(shot(steps=100_000)))
    with running_farm(farm), tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        publish("ticket-1")
        farm.wait_for(lambda: any(beat.steps_done for beat in farm.beats))
        engine = os.pidfd_open(_child_of(node.process.pid))
        node.process.send_signal(signal.SIGTERM)
        node.wait_until_it_says("once more")

        assert node.stop() == 130
        ended, _, _ = select.select([engine], [], [], 10)
        assert ended
        os.close(engine)


def test_a_refused_key_ends_the_node_with_a_sentence(farm: ScriptedFarm, start_node: StartNode) -> None:
    farm.refusals["joins"].append(401)
    with running_farm(farm):
        node = start_node(farm.url)

        assert node.process.wait(EXIT_WITHIN_S) == 1
        assert "the script says 401" in node.said
        assert "Traceback" not in node.said


def _child_of(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)
