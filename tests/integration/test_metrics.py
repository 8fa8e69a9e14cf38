"""`/metrics` of a farm that has worked: figures against the raw reports, and Prometheus' rules."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import update

from common.messages import Lease, Report, Spent, Verdict
from common.settings import Money
from coordinator.ledger import open_engine
from coordinator.ledger.database import transaction
from coordinator.ledger.schema import batches
from tests.farm import MANIFEST, RunningFarm, ScriptedNode, running_farm
from tests.require import require_program
from tests.scrape import scraped, total
from tests.servers import ValkeyServer

MONEY = Money(
    currency="CHF", tariff_per_kwh=Decimal("0.25"), host_watts=60, card_per_hour={8: Decimal("0.02")}
)
#: What the scripted node reports for each shot and each batch.
RENDER_S, RENDER_J, LOAD_S, LOAD_J = 2.5, 50.0, 1.0, 10.0
FAILED_S, FAILED_J = 4.0, 80.0


def cost(seconds: float, joules: float) -> float:
    """The formula of the books, written out once more."""
    electricity = (joules + MONEY.host_watts * seconds) / 3.6e6 * float(MONEY.tariff_per_kwh)
    return electricity + seconds * float(MONEY.card_per_hour[8]) / 3600


@pytest.fixture(scope="module")
def worked(
    tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer
) -> Iterator[tuple[RunningFarm, int]]:
    """A farm after four images with one failed attempt, and the number of batches it took."""
    folder = tmp_path_factory.mktemp("farm")
    with running_farm(folder, valkey_server.url, money=MONEY) as farm:
        yield farm, work(farm)


def grow_old(farm: RunningFarm, lease: Lease) -> None:
    """Let a lease be as old as it takes for what its node reports to be believed."""
    engine = open_engine(farm.settings.database)
    with transaction(engine, writes=True) as connection:
        mine = update(batches).where(batches.c.id == lease.batch_id)
        connection.execute(mine.values(leased_at=batches.c.leased_at - 100.0))
    engine.dispose()


def work(farm: RunningFarm, manifest: str = MANIFEST) -> int:
    node = ScriptedNode(farm)
    with farm.client() as operator:
        job = operator.post("/v1/jobs", json={"manifest": manifest}).json()["id"]
        claimed, failed = 0, False
        while operator.get(f"/v1/jobs/{job}").json()["counts"].get("waiting"):
            lease = node.lease()
            grow_old(farm, lease)
            claimed += 1
            for shot in lease.shots:
                if not failed:
                    failed = True
                    report = Report(
                        token=lease.token, shot_id=shot.id, outcome="failed", failure="render_error",
                        spent=Spent(joules=FAILED_J, energy_method="counter", seconds={"denoise": FAILED_S}),
                    )  # fmt: skip
                    node.post(f"/v1/batches/{lease.batch_id}/reports", report)
                else:
                    node.deliver(lease, shot)
                    stored = Verdict(outcome="stored", sha256="0" * 64, size=1, seconds=0.25)
                    farm.farm.ledger.ingest.verdicts([(shot.attempt_id, stored)])
            node.close(lease)
    node.leave()
    return claimed


def test_cost_and_energy_equal_the_formula_over_all_attempts(worked: tuple[RunningFarm, int]):
    farm, batches = worked
    metrics = scraped(farm)
    expected = {
        "render": 4 * cost(RENDER_S, RENDER_J) + cost(FAILED_S, FAILED_J),
        "load": batches * cost(LOAD_S, LOAD_J),
    }
    for kind, money in expected.items():
        assert total(metrics["farm_cost"], kind=kind) == pytest.approx(money, rel=1e-6)
    assert total(metrics["farm_energy_joules"], method="sampled") == pytest.approx(4 * RENDER_J)
    assert total(metrics["farm_energy_joules"], method="counter") == pytest.approx(FAILED_J)
    assert total(metrics["farm_gpu_seconds"], phase="denoise") == pytest.approx(4 * 2.0 + FAILED_S)
    assert total(metrics["farm_gpu_seconds"], phase="load") == pytest.approx(batches * LOAD_S)
    assert total(metrics["farm_ingest_seconds"]) == pytest.approx(4 * 0.25)


def test_the_metrics_and_the_cost_table_tell_the_same(worked: tuple[RunningFarm, int]):
    farm, _ = worked
    metrics = scraped(farm)
    with farm.client() as operator:
        (job,) = operator.get("/v1/jobs").json()["jobs"]
        (row,) = operator.get(f"/v1/jobs/{job['id']}/table").json()["rows"]
        view = operator.get(f"/v1/jobs/{job['id']}").json()
    stored = total(metrics["farm_images"], outcome="stored", model="tiny", vram_class="8")
    spent = total(metrics["farm_cost"], model="tiny", vram_class="8")
    assert (row["images"], row["failures"]) == (stored, 1)
    assert row["cost"] == pytest.approx(spent, rel=1e-6)
    assert view["cost"] == pytest.approx(spent, rel=1e-6)
    assert row["cost_per_image"] == pytest.approx(spent / stored, rel=1e-6)


def test_failures_are_counted_next_to_all_attempts(worked: tuple[RunningFarm, int]):
    attempts = scraped(worked[0])["farm_attempts"]
    assert total(attempts, failure="render_error") == 1
    assert total(attempts) == 5


def test_counters_of_work_survive_a_restart(tmp_path: Path, valkey_server: ValkeyServer):
    with running_farm(tmp_path, valkey_server.url) as farm:
        work(farm)
        before = scraped(farm)
    with running_farm(tmp_path, valkey_server.url) as farm:
        after = scraped(farm)
    for name in ("farm_images", "farm_cost", "farm_energy_joules", "farm_gpu_seconds", "farm_attempts"):
        assert after[name].samples == before[name].samples
        assert before[name].samples


def test_money_says_its_currency(worked: tuple[RunningFarm, int]):
    (sample,) = scraped(worked[0])["farm_money_info"].samples
    assert (sample.name, sample.labels) == ("farm_money_info", {"currency": "CHF"})


def test_labels_never_grow_with_the_work(worked: tuple[RunningFarm, int]):
    for metric in scraped(worked[0]).values():
        labels = {name for sample in metric.samples for name in sample.labels}
        assert not labels & {"job", "job_id", "shot", "shot_id", "image", "batch", "batch_id"}, metric.name
        assert "node" not in labels or metric.type == "gauge", metric.name
        assert len(metric.samples) < 100, metric.name


def test_requests_are_counted_by_route_and_not_by_path(worked: tuple[RunningFarm, int]):
    farm, _ = worked
    with farm.client() as operator:
        operator.get("/v1/jobs/none")
        operator.get("/v1/no/such/route")
    requests = scraped(farm)["farm_requests"]
    assert total(requests, route="/v1/jobs/{job_id}", status="404") == 1
    assert total(requests, route="unknown", status="404") == 1


def test_while_the_broker_is_away_everything_else_is_told(tmp_path: Path, own_valkey: ValkeyServer):
    with running_farm(tmp_path, own_valkey.url) as farm:
        work(farm)
        own_valkey.kill()
        metrics = scraped(farm)
        assert metrics["farm_tickets"].samples == []
        assert total(metrics["farm_images"], outcome="stored") == 4
        own_valkey.start()


def test_promtool_finds_nothing_to_mend(worked: tuple[RunningFarm, int]):
    promtool = require_program("promtool", "apt-get install prometheus")
    with worked[0].client() as client:
        text = client.get("/metrics").text
    answer = subprocess.run(
        [str(promtool), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, "")


def test_every_metric_is_in_the_reference(worked: tuple[RunningFarm, int]):
    reference = Path("docs/reference/metrics.md").read_text(encoding="utf-8")
    for metric in scraped(worked[0]).values():
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        assert f"| `{name}` |" in reference
