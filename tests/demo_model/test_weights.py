"""The committed demo model: small, loadable by the plain pipeline, and it draws what it is asked for."""

import hashlib

import pytest
import torch
from safetensors import safe_open

from common.model_files import SHIPPED
from tests.demo_model.build import load
from tests.demo_model.evaluate import change, render
from tests.demo_model.judge import background_of, colour_of
from tests.demo_model.places import LORA, MODEL


@pytest.fixture(scope="module")
def pipeline():  # type: ignore[no-untyped-def]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield load(SHIPPED / MODEL)
    torch.set_num_threads(threads)


def test_everything_committed_is_at_most_six_megabytes() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) <= 6_000_000


def test_weights_are_half_precision_safetensors() -> None:
    files = list(SHIPPED.rglob("*.safetensors"))
    assert len(files) == 4
    for path in files:
        with safe_open(path, "pt") as weights:
            assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"F16"}  # noqa: SIM118


def test_a_picture_has_the_colours_that_the_prompt_names(pipeline) -> None:  # type: ignore[no-untyped-def]
    (picture,) = render(pipeline, ["a red heart on a white background"])
    assert picture.size == (128, 128)
    assert background_of(picture) == "white"
    assert colour_of(picture, "heart") == "red"


def test_a_seed_is_a_picture(pipeline) -> None:  # type: ignore[no-untyped-def]
    one, other = (render(pipeline, ["a teal boat on a black background"])[0].tobytes() for _ in range(2))
    assert hashlib.sha256(one).digest() == hashlib.sha256(other).digest()


def test_the_lora_acts_on_its_trigger_and_leaves_no_trace(pipeline) -> None:  # type: ignore[no-untyped-def]
    quiet, loud = (
        ["a green tree on an orange background"],
        ["cyanotype of a green tree on an orange background"],
    )
    before = render(pipeline, quiet), render(pipeline, loud)
    lora = SHIPPED / LORA
    pipeline.load_lora_weights(lora.parent, weight_name=lora.name, adapter_name="demo")
    after = render(pipeline, quiet), render(pipeline, loud)
    pipeline.unload_lora_weights()
    assert change(before[1], after[1]) > 3 * change(before[0], after[0])
    assert render(pipeline, quiet)[0].tobytes() == before[0][0].tobytes()
