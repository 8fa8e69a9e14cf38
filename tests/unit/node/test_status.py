"""What `farm-node status` says."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from gpu_node.status import BatchStatus, Day, NodeStatus, StatusFile, read_status, status_file, status_lines

TODAY = date(2026, 1, 5)
IDLE = NodeStatus(node="attic", farm="http://farm:8080", today=Day(day=TODAY))
WORK = BatchStatus(model="z-image-turbo", owner="ana", images=8, delivered=3, phase="denoise", seconds=42)


def test_a_day_counts_its_own_batches_and_a_restart_forgets_none(tmp_path: Path) -> None:
    days = [TODAY]
    file = StatusFile(tmp_path, lambda: days[0])
    file.add(3, 60.0, 7200.0)
    assert file.today(2, 5.0, 100.0) == Day(day=TODAY, images=5, seconds=65.0, joules=7300.0)
    file.write(IDLE.model_copy(update={"today": file.today(), "told": "a game"}))

    again = StatusFile(tmp_path, lambda: days[0])
    assert (again.told, again.today().images) == ("a game", 3)
    days[0] = date(2026, 1, 6)
    again.add(1, 10.0, 1.0)
    assert again.today() == Day(day=days[0], images=1, seconds=10.0, joules=1.0)


def test_a_file_that_cannot_be_read_is_none_and_ends_no_node(tmp_path: Path) -> None:
    status_file(tmp_path).write_bytes(b"\xff{")
    assert read_status(tmp_path) is None
    assert StatusFile(tmp_path, lambda: TODAY).told is None
    StatusFile(tmp_path / "nowhere", lambda: TODAY).write(IDLE)


@pytest.mark.parametrize(
    ("status", "runs", "said"),
    [
        (IDLE, True, "waiting for work"),
        (IDLE.model_copy(update={"doing": "measuring sdxl by fp16"}), True, "work, measuring sdxl by fp16"),
        (IDLE.model_copy(update={"paused": "doom runs"}), True, "paused: doom runs"),
        (
            IDLE.model_copy(update={"paused": "doom runs"}),
            False,
            "not running: start it with `farm-node run`",
        ),
        (
            IDLE.model_copy(update={"work": WORK}),
            True,
            "working for ana: z-image-turbo, denoise, 3 of 8 images delivered, 42 s of work",
        ),
        (
            IDLE.model_copy(
                update={"work": WORK.model_copy(update={"owner": ""}), "doing": "fetching x 4 %"}
            ),
            True,
            "working: z-image-turbo, fetching x 4 %, 3 of 8",
        ),
    ],
)
def test_what_a_node_does_is_one_line(status: NodeStatus, runs: bool, said: str) -> None:
    assert said in [*status_lines(status, runs=runs)][1]


def test_the_card_and_the_day_are_told() -> None:
    day = Day(day=TODAY, images=12, seconds=3600.0, joules=3.6e6)
    status = IDLE.model_copy(update={"today": day, "watts": 71.4, "temperature_c": 55.0})
    assert [*status_lines(status, runs=True)][2:] == [
        "the card: 71 W, 55 °C",
        "on 2026-01-05: 12 images, 1 h 00 min of work, 1.00 kWh",
    ]
