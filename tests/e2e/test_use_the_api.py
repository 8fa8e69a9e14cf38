"""One farm with the demo model for what others call: the page on the API as written, and real clients."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from PIL import Image

from coordinator.http.examples import BODIES
from tests.e2e.conftest import CARDS
from tests.e2e.farmhouse import Farmhouse
from tests.programs import run
from tests.require import require_module, require_program
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.slow

_PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-the-api.md"
_COMMANDS = re.findall(r"^```sh\n(.*?)^```$", _PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farmhouse]:
    house = Farmhouse(tmp_path_factory.mktemp("api"))
    node = {"name": "studio", "card": str(CARDS / "gtx-1070.yaml")}
    (house.folder / "farm.yaml").write_text(yaml.safe_dump({"nodes": [node]}))
    house.farm("up")
    yield house
    house.farm("down")


@pytest.fixture(scope="module")
def key(house: Farmhouse) -> str:
    created = house.farm("keys", "create", "ana", "--owner", "studio").stdout
    found = re.search(r"shotfarm_\w+", created)
    assert found, created
    return found[0]


def test_the_page_leads_to_images(house: Farmhouse, key: str) -> None:
    require_program("curl", "apt-get install curl")
    environment = {**house.environment, "FARM_PUBLIC_URL": house.settings().public_url, "FARM_KEY": key}
    script = "\n".join(["set -euo pipefail", *_COMMANDS])
    done = run("bash", "-c", script, folder=house.folder, environment=environment)
    with Image.open(house.folder / "mug.png") as picture:
        assert picture.size == (128, 128)
    assert '"says":"it works"' in done.stdout
    assert '"axes":{"colour":"red"}' in done.stdout
    assert '"path":"version","line":1,"column":10}' in done.stdout


def test_openais_client_gets_images(house: Farmhouse, key: str) -> None:
    openai = require_module("openai", "make setup-dev")
    url = f"{house.settings().public_url}/v1"
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=PATIENCE_S) as client:
        models = {each.id: each for each in client.models.list()}
        assert (models["shotfarm-demo"].object, models["shotfarm-demo"].owned_by) == ("model", "farm")
        wish = {"model": "shotfarm-demo", "prompt": "a {red} mug", "size": "128x128"}
        two = client.images.generate(**wish, n=2, response_format="b64_json").data
        assert len({each.b64_json for each in two}) == 2
        for each in two:
            assert opened(base64.b64decode(each.b64_json)).size == (128, 128)
        (one,) = client.images.generate(prompt="a green mug", output_format="webp").data
        with httpx.Client(trust_env=False) as http:
            assert opened(http.get(one.url).content).format == "WEBP"
        with pytest.raises(openai.UnprocessableEntityError, match="unknown model `dall-e-3`") as refused:
            client.images.generate(model="dall-e-3", prompt="a mug")
        assert (refused.value.code, refused.value.type) == ("invalid", "invalid_request_error")
    with (
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.images.generate(prompt="a mug")


def test_the_web_uis_client_gets_images(house: Farmhouse, key: str) -> None:
    webuiapi = require_module("webuiapi", "make setup-dev")
    base = f"{house.settings().public_url}/sdapi/v1"
    api = webuiapi.WebUIApi(baseurl=base, username="farm", password=key)
    api.session.trust_env = False
    assert api.util_get_current_model() in api.util_get_model_names()
    assert {"euler"} <= {*api.util_get_sampler_names()}
    model = {"sd_model_checkpoint": "shotfarm-demo"}
    given = {"width": 128, "height": 128, "steps": 9, "cfg_scale": 1, "override_settings": model}
    result = api.txt2img(prompt="a (blue) lamp <lora:blueprint:0.8>", seed=5, batch_size=2, **given)
    assert [image.size for image in result.images] == [(128, 128)] * 2
    assert (result.info["all_seeds"], result.info["sampler_name"]) == ([5, 6], "euler_a")
    with pytest.raises(RuntimeError, match="does not have enable_hr"):
        api.txt2img(prompt="a lamp", enable_hr=True, **given)
    assert api.get_progress()["state"]["job_count"] == 0
    api.session.close()


@pytest.mark.parametrize("operation", ["POST /v1/images/generations", "POST /sdapi/v1/txt2img"])
def test_the_example_of_a_call_that_renders_is_answered(house: Farmhouse, key: str, operation: str) -> None:
    url = house.settings().public_url + operation.split()[1]
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(headers=headers, timeout=PATIENCE_S, trust_env=False) as client:
        client.post(url, json=BODIES[operation]).raise_for_status()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))
