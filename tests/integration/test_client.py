"""The client for programs, and the bot that is built on it, with a real farm."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from setuptools.config.pyprojecttoml import read_configuration
from shotfarm import client as public
from shotfarm.client import AsyncFarm, Conflict, Farm, Invalid, JobUpdate, NotFound, Unauthorised, Unavailable

from tests.fake_telegram import TOKEN, FakeTelegram, fake_telegram
from tests.farm import MANIFEST, QUICK, RunningFarm, ScriptedNode, running_farm
from tests.integration.test_event_streams import render
from tests.python_files import module_of
from tests.servers import ValkeyServer

ROOT = Path(__file__).parents[2]
BOT = ROOT / "docs" / "examples" / "telegram_bot.py"
DRAWING: dict[str, Any] = {
    "version": 1,
    "shots": [{"name": "mug", "model": "tiny", "prompt": "a green mug", "seeds": 3, "size": "128x128"}],
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[RunningFarm]:
    # Streams end all the time: whoever reads events does not notice.
    timing = QUICK.model_copy(update={"stream_s": 0.5})
    folder = tmp_path_factory.mktemp("client")
    with running_farm(folder, valkey_server.url, look_ahead=False, timing=timing) as farm:
        yield farm


@pytest.fixture
def farm(running: RunningFarm) -> Iterator[Farm]:
    with Farm(running.url, "operator-key") as client:
        yield client


@pytest.fixture
def rendering(running: RunningFarm) -> Iterator[Callable[[int], None]]:
    """Lets a node render so many images meanwhile."""
    threads: list[threading.Thread] = []

    def begin(images: int) -> None:
        def work() -> None:
            with ScriptedNode(running) as node:
                render(running, node, images)

        threads.append(threading.Thread(target=work))
        threads[-1].start()

    yield begin
    for thread in threads:
        thread.join()


def test_a_program_submits_hears_of_each_image_and_downloads_them(
    farm: Farm, rendering: Callable[[int], None]
) -> None:
    job = farm.submit(DRAWING, name="green", idempotency_key="green-1")
    assert farm.submit(DRAWING, name="green", idempotency_key="green-1") == job
    rendering(3)
    shots = []
    # Images may be stored before it is connected.
    for event in farm.events(job.id, after=0):
        if event.type == "shot":
            shots.append(event)
        elif event.type == "job" and event.ended:
            break

    assert sorted(event.position or 0 for event in shots) == [0, 1, 2]
    stored = list(farm.shots(job.id, state=("done",)))
    assert len(stored) == 3
    for image in stored:
        assert farm.download(image).startswith(b"\x89PNG")
    assert job.id in {one.id for one in farm.jobs(status=("done",))}
    assert job.id not in {one.id for one in farm.jobs(status=("waiting", "running"))}
    assert farm.job(job.id).name == "green"
    assert farm.whoami().name == "operator"
    assert farm.costs().images >= 3


def test_an_image_is_ordered_awaited_and_downloaded(farm: Farm, rendering: Callable[[int], None]) -> None:
    rendering(1)
    image = farm.image("a blue bowl", model="tiny", size="128x128", seed=7, wait=60)
    assert (image.status, image.seed) == ("done", 7)
    assert farm.look(image.id).status == "done"
    assert farm.download(image).startswith(b"\x89PNG")


def test_errors_are_those_of_the_farm_with_its_sentence(farm: Farm, running: RunningFarm) -> None:
    with pytest.raises(NotFound, match="no job j-none"):
        farm.job("j-none")
    with pytest.raises(NotFound, match="no job j-none"):
        next(farm.events("j-none"))
    with pytest.raises(Invalid, match=r"unknown key|prompt"):
        farm.submit({"version": 1, "shots": [{"name": "a"}]})
    job = farm.submit(MANIFEST.replace("} mug", "} jar"))
    farm.steer_job(job.id, "cancel")
    with pytest.raises(Conflict):
        farm.steer_job(job.id, "pause")
    with pytest.raises(NotFound, match="not stored"):
        farm.download(next(farm.shots(job.id)))
    with Farm(running.url, "wrong-key") as stranger, pytest.raises(Unauthorised):
        next(stranger.events())
    with pytest.raises(Invalid, match="url nowhere: give the full URL"):
        Farm("nowhere")


def test_a_farm_that_does_not_answer_is_asked_again_until_the_program_has_enough() -> None:
    said: list[str] = []

    def enough(error: Exception) -> None:
        said.append(str(error))
        if len(said) == 2:
            raise error

    with Farm("http://127.0.0.1:1") as nobody, pytest.raises(Unavailable):
        next(nobody.events(on_silence=enough))
    assert ["does not answer" in sentence for sentence in said] == [True, True]


def test_a_program_with_an_event_loop_does_the_same(
    running: RunningFarm, rendering: Callable[[int], None]
) -> None:
    async def program() -> None:
        async with AsyncFarm(running.url, "operator-key") as farm:
            job = await farm.submit(MANIFEST.replace("} mug", "} vase"))
            rendering(4)
            seen = 0
            # Images may be stored before it is connected.
            async for event in farm.events(job.id, after=0):
                seen += event.type == "shot"
                if isinstance(event, JobUpdate) and event.status == "done":
                    break
            assert seen == 4
            shots = [shot async for shot in farm.shots(job.id)]
            assert (await farm.download(shots[0])).startswith(b"\x89PNG")
            assert job.id in {one.id for one in await farm.jobs()}
            assert [one.id for one in await farm.jobs(name="none")] == []
            assert "tiny" in {one.name for one in await farm.models()}
            with pytest.raises(NotFound):
                await farm.job("j-none")

    asyncio.run(program())


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type[Any]) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert methods(Farm) == methods(AsyncFarm)


def test_the_public_package_is_installed_beside_the_others() -> None:
    found = read_configuration(ROOT / "pyproject.toml", expand=True)["tool"]["setuptools"]
    assert "shotfarm" in found["packages"]
    assert found["package-dir"]["shotfarm"] == "common/public/shotfarm"
    assert not [name for name in found["packages"] if name.startswith("common.public")]
    assert all(hasattr(public, name) for name in public.__all__)


# The bot


def talk(running: RunningFarm, telegram: FakeTelegram, talking: Callable[[], None]) -> None:
    """Let the bot run while a person talks to it."""
    bots = module_of(BOT)

    async def scene() -> None:
        api = bots.Telegram(TOKEN, telegram.url)
        async with AsyncFarm(running.url, "operator-key") as farm:
            bot = asyncio.create_task(bots.Bot(farm, api, "tiny", {42}).run())
            person = asyncio.create_task(asyncio.to_thread(talking))
            done, _ = await asyncio.wait({bot, person}, return_when=asyncio.FIRST_COMPLETED)
            bot.cancel()
            await api.close()
            for task in done:
                task.result()

    asyncio.run(scene())


def test_a_prompt_becomes_a_picture_in_the_chat(
    running: RunningFarm, rendering: Callable[[int], None]
) -> None:
    def talking() -> None:
        telegram.write(42, "a yellow teapot")
        rendering(1)
        while (sent := telegram.next())[0] != "sendPhoto":
            assert sent[0] in ("sendChatAction", "sendMessage")
        fields = sent[1]
        assert fields["chat_id"] == "42"
        assert fields["photo"].startswith(b"\x89PNG")
        assert fields["caption"].startswith("a yellow teapot\nseed ")

    with fake_telegram() as telegram:
        talk(running, telegram, talking)


def test_the_bot_tells_of_queue_and_cost_and_answers_nobody_else(running: RunningFarm, farm: Farm) -> None:
    job = farm.submit(MANIFEST.replace("} mug", "} lamp"), name="lamps")

    def talking() -> None:
        for chat, text, said in (
            (42, "/queue", "lamps: 0 of 4 done"),
            (42, "/cost", "EUR"),
            (42, "/help", "Send a prompt"),
            (7, "a mug", "your number is 7"),
            (42, "a {mug", "this brace is never closed"),
        ):
            telegram.write(chat, text)
            method, fields = telegram.next()
            assert (method, fields["chat_id"]) == ("sendMessage", chat)
            assert said in fields["text"]

    with fake_telegram() as telegram:
        talk(running, telegram, talking)
    farm.steer_job(job.id, "cancel")


def test_a_wrong_token_ends_the_bot(running: RunningFarm) -> None:
    bots = module_of(BOT)

    async def start(url: str) -> None:
        api = bots.Telegram("wrong", url)
        async with AsyncFarm(running.url, "operator-key") as farm:
            try:
                await bots.Bot(farm, api, "tiny", {42}).run()
            finally:
                await api.close()

    with fake_telegram() as telegram, pytest.raises(RuntimeError, match="Unauthorized"):
        asyncio.run(start(telegram.url))
