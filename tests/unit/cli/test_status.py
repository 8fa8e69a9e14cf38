"""What `farm status`, `farm jobs`, `farm watch` and `farm pull` say of what goes on, and of what does not."""

from __future__ import annotations

import pytest

from common.catalog import read_entries
from common.errors import OverBudget
from common.messages import CardFacts
from common.terminal import Terminal
from common.units import GIB
from common.views import BudgetView, CostRow, CostTable, JobSummary, JobView, NodeView
from coordinator.cli.jobs import jobs_table, over_budget, stopped, what_goes_on, words_of_jobs
from coordinator.cli.local import waiting_words
from coordinator.cli.nodes import nodes_table, words_of_nodes
from coordinator.cli.pull import without_file
from coordinator.cli.results import cost_table
from coordinator.cli.show import out, print_list
from coordinator.cli.status import jobs_block
from coordinator.cli.watch import require_success
from coordinator.explain.fleet import idle_sentences


def node(state: str, **facts: str) -> NodeView:
    card = CardFacts(name="a card", backend="cpu", vram_bytes=8 * GIB, usable_bytes=GIB, ram_bytes=GIB)
    return NodeView.model_validate(
        {"id": "attic", "name": "attic", "owner": "farm", "lanes": ["public"], "card": "a card"}
        | {"facts": card, "terms": "owned", "vram_class": 8, "state": state, "seen_at": 0}
        | facts
    )


def job(cost: float, **counts: int) -> JobView:
    summary = JobSummary(
        id="j-1",
        name="tea",
        owner="ana",
        lane="public",
        priority=50,
        intent="paused",
        status="paused",
        reason="it has cost its budget",
        submitted_at=0,
        images=sum(counts.values()),
        counts=counts,
        budget=BudgetView(limit=1.0, cost=cost, currency="EUR"),
    )
    return JobView(**dict(summary), running={}, images_per_minute=0, eta_s=None, cost=cost, currency="EUR")


@pytest.mark.parametrize(
    ("one", "told"),
    [
        *((node(state), []) for state in ("ready", "busy")),
        *(
            (node(state), ["node attic ", "`farm"])
            for state in ("draining", "offline", "paused", "quarantined", "selftest", "lost")
        ),
        # What its owner ended is not complained of, and the owner's pause not the operator's to end.
        (node("offline", reason="stopped by its owner", decided_by="owner"), []),
        (
            node("paused", reason="paused by its owner", decided_by="owner"),
            ["node attic is paused by its owner", "its owner must run `farm-node resume` on attic"],
        ),
    ],
)
def test_a_node_that_does_nothing_is_named_with_what_would_change_it(one: NodeView, told: list[str]) -> None:
    said = idle_sentences([one])
    assert len(said) == bool(told)
    assert [part for part in told if part not in said[0]] == []


def test_a_job_that_spent_its_budget_shows_cost_limit_overshoot_and_what_is_undone() -> None:
    said = "it has spent 1.25 EUR of its 1.00 EUR limit, 0.250 EUR over; 3 images unfinished"
    assert stopped(job(1.25, done=2, waiting=3)) == said
    with pytest.raises(OverBudget, match="submit its manifest again"):
        require_success(job(1.25, done=2, waiting=3))


def test_a_job_below_its_budget_or_done_is_not_stopped_by_it() -> None:
    assert over_budget(job(0.5, waiting=3)) is None
    assert over_budget(job(1.25, done=5)) is None


@pytest.mark.parametrize(
    ("intent", "counts", "more", "said"),
    [
        ("paused", {"running": 188}, {"attic": 188}, "188 shots that run already will finish on attic"),
        ("paused", {"delivered": 1}, {}, "1 shot that runs already will finish"),
        ("paused", {"waiting": 9, "done": 3}, {}, ""),
        (
            "cancelled",
            {"waiting": 100, "running": 65, "cancelled": 6},
            {"j-2": 164, "": 1},
            "164 shots go on for job j-2, which wants them too; "
            "1 shot goes on for a job of another owner, which wants it too",
        ),
        ("cancelled", {"running": 2}, {}, "2 shots still to be cancelled"),
        ("cancelled", {"cancelled": 6, "done": 1}, {}, ""),
        ("active", {"running": 6}, {"attic": 6}, ""),
    ],
)
def test_pause_and_cancel_say_what_goes_on(
    intent: str, counts: dict[str, int], more: dict[str, int], said: str
) -> None:
    facts = {"intent": intent, "running": more, "shared": more}
    assert what_goes_on(job(0.0, **counts).model_copy(update=facts)) == said


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"done": 3}, ""),
        ({"done": 3, "cancelled": 60}, ", 60 images cancelled"),
        ({"done": 3, "waiting": 1, "running": 1, "failed": 1}, ", 2 images not rendered yet, 1 image failed"),
        ({"accepted": 2, "unschedulable": 1}, ", 1 image without a card that can render them"),
    ],
)
def test_a_pull_says_why_images_have_no_file(counts: dict[str, int], said: str) -> None:
    assert without_file(job(0.0, **counts)) == said


def test_the_status_shows_some_jobs_and_says_where_the_others_are() -> None:
    def shown(number: int) -> str:
        with out.capture() as captured:
            out.print(jobs_block([job(0.0, waiting=1)] * number))
        return captured.get()

    assert shown(0) == "no job goes on; `farm jobs` lists all\n"
    assert "`farm jobs` lists all" in shown(10)
    assert "more" not in shown(10)
    assert "2 more jobs; `farm jobs` lists all" in shown(12)


def test_the_end_of_a_farm_waits_for_passes_only_where_some_run() -> None:
    assert waiting_words([]) == "waiting for the processes of the farm to end"
    assert waiting_words(["a"]).startswith("waiting for a to finish its pass; run `farm down` again")
    assert "a, b to finish their passes" in waiting_words(["a", "b"])


def test_words_of_the_farm_are_explained_below_the_table_that_shows_them() -> None:
    def below(**counts: int) -> str:
        with out.capture() as captured:
            print_list([job(0.0, **counts)], jobs_table, "", False, words_of_jobs)
        return captured.get()

    assert "\ndelivered: uploaded, and being checked\n" in below(done=1, delivered=2)
    assert ": " not in below(done=1, waiting=2).partition("\n")[2].replace(":", "", 1)
    assert {"class", "lane", "busy"} == words_of_nodes([node("busy")])


def test_ids_and_model_names_are_whole_in_80_columns() -> None:
    model = max(read_entries().models, key=len)
    attic = node("busy").model_copy(
        update={
            "name": "workstation-2",
            "card": "NVIDIA GeForce RTX 3060",
            "loaded_model": model,
            "watts": 170,
        }
    )
    one = job(0.2, done=50, waiting=40, running=3, failed=2).model_copy(
        update={"id": "j-31259bfa", "name": "autumn-catalogue-portraits", "owner": "studio"}
    )
    costs = CostRow(
        model=model, vram_class=24, images=100, failures=3, rejected=2, rejected_cost=0.1,
        seconds_per_image=5.2, cost=1.23, cost_per_image=0.0123,
    )  # fmt: skip
    shown = Terminal(width=80)
    with shown.capture() as captured:
        for each in (
            nodes_table([attic]), jobs_table([one]), cost_table(CostTable(rows=(costs,), currency="EUR"))
        ):  # fmt: skip
            shown.print(each)
    said = captured.get()
    for words in ("workstation-2", "j-31259bfa", "50/95", "170 W", "rejected", "submitted"):
        assert words in said, said
    assert said.count(model) == 2
    assert max(map(len, said.splitlines())) <= 80
