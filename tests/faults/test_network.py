"""A node's way to the coordinator, the broker or the store is cut, silently, and mended after its lease."""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from common.celeryapp import make_app
from tests.faults.cables import Cable, carried, second_machine
from tests.faults.lone_node import lone_node, state_of
from tests.faults.target import TIMING
from tests.faults.trial import Trial, farm_at_work
from tests.faults.watch import Watch
from tests.servers import running_s3, running_valkey

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network namespace"),
]

_NODE = "far"
_LONGER_THAN_A_LEASE_S = 1.5 * TIMING.lease_s
#: Longer than a node waits for an answer of the broker, whose patience does not run at a fifth.
_UNNOTICED_S = 1.5 * make_app("").conf.broker_transport_options["socket_timeout"]
_QUEUE = "render.public.vram08"


class Wiring(NamedTuple):
    """The farm, and the cables between its services and the one node, on another machine."""

    watch: Watch
    coordinator: Cable
    broker: Cable
    store: Cable


@pytest.fixture(scope="module")
def wiring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wiring]:
    with ExitStack() as parts:
        machine = parts.enter_context(second_machine(cables=3))
        coordinator, broker, store = machine.cables
        valkey = parts.enter_context(running_valkey(tmp_path_factory.mktemp("valkey")))
        s3 = parts.enter_context(running_s3(tmp_path_factory.mktemp("s3")))
        broker_place = parts.enter_context(carried(broker.address, valkey.port))
        store_place = parts.enter_context(carried(store.address, int(s3.endpoint.rpartition(":")[2])))
        settings = {
            "broker_url": valkey.url,
            "public_broker_url": f"redis://{broker_place}/0",
            "storage": {
                "url": f"s3://{s3.bucket}",
                "endpoint": s3.endpoint,
                "public_endpoint": f"http://{store_place}",
                "access_key": s3.access_key,
                "secret_key": s3.secret_key,
            },
        }
        folder = tmp_path_factory.mktemp("farm")
        watch = parts.enter_context(farm_at_work(folder, nodes=(), **settings))
        place = parts.enter_context(carried(coordinator.address, watch.target.settings().port))
        parts.enter_context(lone_node(watch.target, _NODE, url=f"http://{place}", through=machine.through))
        yield Wiring(watch, coordinator, broker, store)


@pytest.fixture
def trial(wiring: Wiring) -> Trial:
    """Of the farm with the far node alone."""
    target = wiring.watch.target
    target.house.wait_for(lambda: state_of(target, _NODE), lambda state: state in ("ready", "busy"))
    return Trial(target, wiring.watch)


def begin(trial: Trial) -> None:
    """A job of which the node is in the middle; it is alone, and takes all of it at once."""
    trial.submit()
    trial.target.house.wait_for(lambda: trial.fates()["done"] and trial.in_hand(), bool)


def listening(trial: Trial) -> str:
    """The broker's number for the connection by which the node, without a ticket in hand, waits for one."""

    def waiting() -> list[str]:
        with trial.target.broker() as broker:
            return [
                client["id"]
                for client in broker.client_list()
                if client["user"].endswith(f".{_NODE}")
                and client["cmd"] == "brpop"
                and "b" in client["flags"]
            ]

    (connection,) = trial.target.house.wait_for(waiting, bool)
    return connection


def test_a_node_cut_off_from_the_coordinator_loses_its_batch_and_comes_back(
    trial: Trial, wiring: Wiring
) -> None:
    begin(trial)
    trial.felling(_NODE, "a cut between it and the coordinator")
    with wiring.coordinator.pulled():
        # A coordinator that a busy machine holds up lets leases last as much longer.
        trial.target.house.wait_for(trial.in_hand, operator.not_)
    assert "expired" in {batch["outcome"] for batch in trial.judge().tables["batches"]}


def test_a_batch_is_finished_while_its_node_is_cut_off_from_the_broker(trial: Trial, wiring: Wiring) -> None:
    begin(trial)
    with wiring.broker.pulled():
        trial.target.house.wait_for(trial.in_hand, operator.not_)
    assert {batch["outcome"] for batch in trial.judge().tables["batches"]} == {"finished"}


def test_an_idle_node_cut_off_from_the_broker_notices_and_takes_work_afterwards(
    trial: Trial, wiring: Wiring
) -> None:
    before = listening(trial)
    with wiring.broker.pulled():
        threading.Event().wait(_UNNOTICED_S)
        trial.submit()
        # The broker has the ticket, and nobody to give it to.
        with trial.target.broker() as broker:
            trial.target.house.wait_for(lambda: broker.llen(_QUEUE), bool)
        assert not trial.batches()
    assert {batch["outcome"] for batch in trial.judge().tables["batches"]} == {"finished"}
    assert listening(trial) != before


def test_a_node_cut_off_from_the_store_keeps_its_lease_and_delivers_afterwards(
    trial: Trial, wiring: Wiring
) -> None:
    begin(trial)
    with wiring.store.pulled():
        threading.Event().wait(_LONGER_THAN_A_LEASE_S)
    assert {batch["outcome"] for batch in trial.judge().tables["batches"]} == {"finished"}
