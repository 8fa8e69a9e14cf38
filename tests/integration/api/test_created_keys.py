"""Keys that people create, as they and their colleagues meet them: by the API and on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update

from common.errors import NotGranted, OverQuota, Unauthorised
from common.key_messages import NewKey, Rotation
from common.keys import KEY_PREFIX
from common.views import Submit
from coordinator.cli.main import main
from coordinator.client import FarmClient
from coordinator.ledger import open_engine
from coordinator.ledger.schema import keys
from tests.farm import MANIFEST, RunningFarm, ScriptedNode, running_farm, until
from tests.integration.api.calls import finish, refused
from tests.servers import ValkeyServer
from tests.unit.cli.conftest import Farm, runner


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[RunningFarm]:
    with running_farm(tmp_path_factory.mktemp("created"), valkey_server.url) as running:
        yield running


@pytest.fixture
def admin(farm: RunningFarm) -> Iterator[FarmClient]:
    with FarmClient(farm.url, "operator-key") as client:
        yield client


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Of a key that no other test has."""
    return f"{request.node.name[5:60]}"


def created(admin: FarmClient, farm: RunningFarm, name: str, **fields: object) -> FarmClient:
    new = NewKey.model_validate({"name": name, "owner": name, "scopes": ["submit"], **fields})
    return FarmClient(farm.url, admin.create_key(new).key)


def of(text: str, **changes: str) -> Submit:
    """An order of four images of its own."""
    manifest = MANIFEST.replace("} mug", f"}} mug {text}")
    return Submit(manifest=manifest + "".join(f"{key}: {value}\n" for key, value in changes.items()))


def test_a_job_belongs_to_the_owner_of_the_key(farm: RunningFarm, admin: FarmClient, name: str) -> None:
    with created(admin, farm, name, owner="studio") as client:
        assert client.submit(of(name)).owner == "studio"
        with pytest.raises(NotGranted, match="submits jobs of studio only: leave out `owner: bo`"):
            client.submit(of(name).model_copy(update={"owner": "bo"}))
        assert {job.owner for job in client.jobs()} == {"studio"}
        assert client.whoami().owner == "studio"
    with created(admin, farm, f"{name}-2", owner="studio", scopes=["operate"], lanes=None) as client:
        assert client.submit(of(name).model_copy(update={"owner": "bo"})).owner == "bo"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lane": "gold"}, "lane `gold` is not granted to key .*: write `public` and `studio` after `lane:`"),
        ({"priority": "61"}, "priority 61 is not granted to key .*: write up to 60"),
    ],
)
def test_lanes_and_priorities_are_granted_by_the_farm(
    farm: RunningFarm, admin: FarmClient, change: dict[str, str], said: str
) -> None:
    granted = {"lanes": ["public", "studio"], "max_priority": 60}
    (word,) = change
    with created(admin, farm, f"granted-{word}", **granted) as client:
        with pytest.raises(NotGranted, match=said):
            client.submit(of("granted", **change))
        job = client.submit(of("granted", lane="studio", priority="60")).id
        with pytest.raises(NotGranted, match="priority 61"):
            client.prioritise(job, 61)
        assert client.prioritise(job, 10).priority == 10


def test_a_quota_refuses_what_is_not_stored_and_says_when_to_come_again(
    farm: RunningFarm, admin: FarmClient, name: str
) -> None:
    with created(admin, farm, name, quota="6/day") as client:
        client.submit(of(name))
        with pytest.raises(OverQuota, match=r"allows 6 images per day, and 2 are left, but this needs 4"):
            client.submit(of(f"{name} again"))
        assert client.whoami().used_images == 4
        key = admin.rotate_key(name, Rotation()).key
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx.post(f"{farm.url}/v1/jobs", json=of("more").model_dump(), headers=headers, trust_env=False)
    refused(answer, 429)
    assert 0 < int(answer.headers["retry-after"]) <= 86400


def test_a_job_that_its_budget_cannot_pay_is_refused_unless_its_images_are_stored(
    farm: RunningFarm, admin: FarmClient
) -> None:
    said = r"exceeds the 0\.00000100 EUR left of 0\.00000100 EUR per month of key poor: .* UTC"
    with (
        created(admin, farm, "poor", quota="1/day", max_cost="0.000001/month") as client,
        ScriptedNode(farm) as node,
    ):
        with pytest.raises(OverQuota, match=said):
            client.submit(of("poor"))
        finish(farm, node, admin.submit(of("poor", priority="100")).id)
        again = client.submit(of("poor"))
        assert (again.reused, again.new, client.whoami().used_images) == (4, 0, 0)


def test_a_revoked_key_ends_at_once_and_a_rotated_one_after_its_grace(
    farm: RunningFarm, admin: FarmClient, name: str
) -> None:
    with created(admin, farm, name) as client:
        issued = admin.rotate_key(name, Rotation(grace_s=3600))
        client.jobs()
        with FarmClient(farm.url, issued.key) as fresh:
            fresh.jobs()
            admin.revoke_key(name)
            for holder in (client, fresh):
                with pytest.raises(Unauthorised):
                    holder.jobs()


def test_what_another_coordinator_revoked_ends_here_too(
    farm: RunningFarm, admin: FarmClient, name: str
) -> None:
    """Without a call at this one: the ledger alone has changed."""
    with created(admin, farm, name) as client:
        client.jobs()
        engine = open_engine(farm.settings.database)
        with engine.begin() as connection:
            connection.execute(update(keys).where(keys.c.name == name).values(revoked_at=1.0))
        engine.dispose()

        def ended() -> bool:
            try:
                client.jobs()
            except Unauthorised:
                return True
            return False

        until(ended)


def test_a_colleague_gets_a_key_and_works_with_it(
    farm: RunningFarm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FARM_PUBLIC_URL", farm.url)
    monkeypatch.setenv("FARM_KEYS__OPERATOR", "operator-key")
    run: Farm = runner("farm", main, monkeypatch, capsys)
    made = run("keys", "create", "zoe", "--owner", "studio", "--quota", "2000/day", "--max-cost", "20/month")
    assert made.out.startswith(KEY_PREFIX)
    assert made.out.strip() not in made.err
    said = "key zoe of studio: submit, read; lane public; priority up to 50; 0 of 2000 images per day"
    assert f"{said}; 0.00 EUR of 20 EUR per month" in " ".join(made.err.split())
    again = run("keys", "create", "zoe")
    assert (again.code, again.out) == (1, "")
    assert "there is a key zoe already" in again.err

    monkeypatch.setenv("FARM_KEY", made.out.strip())
    words = " ".join(run("whoami").out.split())
    assert "0 of 2000 images per day; 0.00 EUR of 20 EUR per month" in words
    assert "key needs" not in run("status").out
    shut = run("keys", "list")
    assert shut.code == 1
    assert "the zoe key does not allow this: it needs the scope admin" in " ".join(shut.err.split())

    monkeypatch.delenv("FARM_KEY")
    limited = run("keys", "limit", "zoe", "--quota", "none", "--max-priority", "70", "--lane", "studio")
    assert "lane studio; priority up to 70; 0.00 EUR of 20 EUR per month" in " ".join(limited.out.split())
    assert "did you mean `zoe`?" in run("keys", "limit", "zo", "--quota", "none").err
    assert "zoe" in run("keys", "list").out
    assert "its jobs continue" in run("keys", "revoke", "zoe").out
    log = run("audit", "--subject", "zoe", "--json").out
    assert [f'"{action}"' in log for action in ("key create", "key limits", "key revoke")] == [True] * 3
