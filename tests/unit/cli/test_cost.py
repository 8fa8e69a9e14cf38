"""`farm cost` and `farm thanks` of a farm that has worked, with keys of the operator and of owners."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal

import pytest

from common.bill import Bill, BillLine, ReferencePrice, Thanks, bill_of, reference_prices
from common.catalog import read_entries
from common.key_messages import NewKey
from common.settings import Money
from common.terminal import Terminal
from coordinator.cli.cost import bill_table, grouped, reference_sentences
from coordinator.ledger import Act
from tests.farm import RunningFarm, running_farm
from tests.integration.test_metrics import work
from tests.servers import ValkeyServer
from tests.unit.cli.conftest import Farm

#: So dear that costs are whole coins.
MONEY = Money(currency="CHF", tariff_per_kwh=Decimal(40), card_per_hour={8: Decimal(900)})
ACT = Act(by="operator", owner="", action="key create", subject="")


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[RunningFarm]:
    """A farm after four images with one failed attempt, and keys of two owners."""
    with running_farm(tmp_path_factory.mktemp("farm"), valkey_server.url, money=MONEY) as farm:
        work(farm)
        (job,) = farm.farm.ledger.jobs.page(None, limit=9)[0]
        for owner in (job.owner, "rival"):
            key = farm.farm.create_key(NewKey(name=f"of-{owner}", owner=owner, scopes=("read",)), ACT)
            keys[owner] = key.key
        yield farm


#: By owner.
keys: dict[str, str] = {}


@pytest.fixture
def owner(worked: RunningFarm, monkeypatch: pytest.MonkeyPatch) -> str:
    """The owner of the job; commands go to the farm with the operator's key."""
    monkeypatch.setenv("FARM_PUBLIC_URL", worked.url)
    monkeypatch.setenv("FARM_KEYS__OPERATOR", "operator-key")
    return worked.farm.ledger.jobs.page(None, limit=9)[0][0].owner


def told(farm: Farm, *words: str) -> Bill:
    ran = farm("cost", *words, "--json")
    assert ran.code == 0, ran.err
    return Bill.model_validate(json.loads(ran.out))


def test_a_month_and_its_job_have_the_same_bill_apart_from_idle_time(
    farm: Farm, owner: str, worked: RunningFarm
) -> None:
    month, job = told(farm), told(farm, worked.farm.ledger.jobs.page(None, limit=9)[0][0].id)
    assert (month.images, month.kept, job.images) == (4, 4, 4)
    worked_at = [line for line in month.lines if line.use != "idle"]
    assert sum(line.cost for line in worked_at) == pytest.approx(job.cost)
    assert job.cost == pytest.approx(worked.farm.ledger.jobs.view(job.subject).cost)
    assert {line.use for line in job.lines} == {"image", "failed", "load"}
    assert told(farm, "--owner", owner).lines == tuple(worked_at)
    assert told(farm, "--month", "2020-02").lines == ()


def test_csv_has_all_lines_and_the_currency(farm: Farm, owner: str) -> None:
    rows = list(csv.DictReader(io.StringIO(farm("cost", "--csv").out)))
    bill = told(farm)
    assert [float(row["cost"]) for row in rows] == [line.cost for line in bill.lines]
    assert {row["currency"] for row in rows} == {"CHF"}


def test_the_page_tells_each_use_and_the_cost_per_image(farm: Farm, owner: str) -> None:
    ran = farm("cost")
    bill = told(farm)
    assert f"{bill.cost:,.2f} CHF for 4 images, 4 kept" in ran.out
    assert f"per image {bill.cost / 4:,.2f} CHF" in ran.out
    for word in (
        "images",
        "failed attempts",
        "loading models",
        "electricity of cards and machines",
        "hours of cards, owned or rented",
        "Classic figures, without a source: 25 ct and 3 ct",
    ):
        assert word in ran.out
    assert max(map(len, ran.out.splitlines())) <= 120


def test_a_bill_has_whole_names_and_sums_in_80_columns() -> None:
    model = max(read_entries().models, key=len)
    lines = tuple(
        BillLine(
            owner="studio", node="workstation-2", model=model, lane="public", vram_class=24, use="image",
            images=12345, kept=12000, seconds=5999, joules=4e8, electricity=12.345, hours=1.25, cost=13.595,
        )
        for _ in range(2)
    )  # fmt: skip
    shown = Terminal(width=80)
    with shown.capture() as captured:
        shown.print(bill_table("model and class", grouped(lines, lambda line: f"{line.model} 24 GB"), "EUR"))
    said = captured.get()
    for words in (f"{model} 24 GB", "24,690", "27.19 EUR", "0.00110 EUR", "per image"):
        assert words in said, said
    assert max(map(len, said.splitlines())) <= 80


def test_a_key_of_an_owner_shows_what_this_owner_paid(
    farm: Farm, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_KEY", keys[owner])
    assert {line.owner for line in told(farm).lines} == {owner}
    monkeypatch.setenv("FARM_KEY", keys["rival"])
    assert told(farm).lines == ()
    refused = farm("cost", "--owner", owner)
    assert (refused.code, "shows costs of owner rival only" in refused.err) == (1, True)


@pytest.mark.parametrize("words", [("--month", "2026-13"), ("j-1", "--month", "2026-11")])
def test_what_has_no_bill_is_refused(farm: Farm, owner: str, words: tuple[str, ...]) -> None:
    ran = farm("cost", *words)
    assert (ran.code, words[-1] in ran.err) == (2, True)


def test_thanks_are_empty_without_volunteers(farm: Farm, owner: str) -> None:
    assert "no volunteer rendered" in farm("thanks").out
    assert Thanks.model_validate(json.loads(farm("thanks", "--json").out)).volunteers == ()


def line(**fields: object) -> BillLine:
    given = {"owner": "ana", "node": "attic", "model": "z-image-turbo", "lane": "public", "vram_class": 8}
    return BillLine.model_validate({**given, "use": "image", **fields})


def test_a_bill_is_beside_what_services_ask_for_the_same_models() -> None:
    bill = bill_of("2026-11", "EUR", [line(images=10, kept=9, cost=0.009), line(use="load", cost=0.001)])
    first, *_, last = reference_sentences(bill)
    assert first == "z-image-turbo: 0.1 ct EUR here, 0.5 ct USD per megapixel at fal (2026-11) hosted"
    assert last.startswith("Classic figures")
    assert {one.model for one in bill.references} == {"z-image-turbo"}


def test_every_reference_price_has_a_month_and_a_page() -> None:
    for one in reference_prices():
        assert isinstance(one, ReferencePrice)
        assert one.url.startswith("https://")
        assert "2026-01" <= one.date <= "2026-12"
    assert len({(one.model, one.service) for one in reference_prices()}) == len(reference_prices())


def test_every_line_is_in_one_group_and_the_dearest_comes_first() -> None:
    lines = [line(cost=1.0), line(use="load", cost=3.0), line(cost=1.0)]
    groups = grouped(lines, lambda one: one.use)
    assert [(group.name, group.sum("cost")) for group in groups] == [("load", 3.0), ("image", 2.0)]
