"""A batch is cut into passes and told to the engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.catalog import GgufFile, load_catalog
from common.shot import LoraUse
from gpu_node.agent.engine_commands import (
    BatchShot,
    encode_command,
    load_command,
    passes,
    texts_of_batch,
)
from gpu_node.errors import RenderError
from gpu_node.identity import Hashes
from gpu_node.library import Library
from tests.engine_talk import load_command as tiny_command
from tests.engine_talk import shot

LIBRARY = Library(load_catalog(), (), Hashes(Path("no-hashes")))


def batch_shot(**changes: Any) -> BatchShot:
    one = shot(**changes)
    return BatchShot(one.id, one)


settings_of_a_call = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 1000),
        "steps": st.sampled_from([4, 8]),
        "guidance": st.sampled_from([0.0, 2.0]),
        "knobs": st.sampled_from([(), (("shift", 3.0),)]),
    }
)


@given(
    batch=st.lists(settings_of_a_call, max_size=30, unique_by=lambda fields: fields["seed"]),
    pass_size=st.integers(1, 6),
)
def test_every_shot_is_in_one_pass_of_its_like_no_larger_than_allowed(
    batch: list[dict[str, Any]], pass_size: int
) -> None:
    shots = [batch_shot(**fields) for fields in batch]

    cut = list(passes(shots, pass_size))

    assert sorted(one.id for one_pass in cut for one in one_pass) == sorted(one.id for one in shots)
    for one_pass in cut:
        assert 1 <= len(one_pass) <= pass_size
        assert len({(one.shot.steps, one.shot.guidance, one.shot.knobs) for one in one_pass}) == 1


def test_a_pass_starts_with_the_first_shot_that_waits() -> None:
    shots = [batch_shot(seed=1), batch_shot(seed=2, steps=8), batch_shot(seed=3)]

    cut = [[one.shot.seed for one in one_pass] for one_pass in passes(shots, 2)]

    assert cut == [[1, 3], [2]]


def test_each_distinct_text_is_encoded_once_with_the_file_of_its_embedding() -> None:
    batch = [batch_shot(seed=seed, prompt=prompt) for seed in (1, 2) for prompt in ("a mug", "a lamp")]
    texts = texts_of_batch(batch, tiny_command(Path()))

    told = encode_command(texts, files={texts[1]: Path("lamp")}).texts

    assert [(one.text, one.file) for one in told] == [("a mug", None), ("a lamp", Path("lamp"))]


def test_negatives_are_encoded_only_where_guidance_uses_them() -> None:
    batch = [batch_shot(negative="blurry"), batch_shot(negative="dark", guidance=2.0)]

    def negatives(**changes: Any) -> list[str]:
        texts = texts_of_batch(batch, tiny_command(Path(), **changes))
        return [one.text for one in encode_command(texts).texts if one.negative]

    assert negatives() == ["dark"]
    assert negatives(guided_above=None) == []


@pytest.fixture
def library(tmp_path: Path) -> Library:
    (tmp_path / "Tongyi-MAI" / "Z-Image-Turbo").mkdir(parents=True)
    return Library(load_catalog(), (tmp_path,), Hashes(tmp_path / "hashes.json"))


def test_a_load_command_is_the_catalogs_recipe_for_the_files_found_here(
    library: Library, tmp_path: Path
) -> None:
    load = load_command("z-image-turbo", "fp8", shot(model_identity="sha256:" + "1" * 64), library)

    assert load.folder == tmp_path / "Tongyi-MAI" / "Z-Image-Turbo"
    assert load.identity == "sha256:" + "1" * 64
    assert (load.pipeline, load.compute_dtype, load.quantisation) == ("ZImagePipeline", "bfloat16", "fp8")
    assert "text_encoder_first" in load.placement


@pytest.mark.parametrize(
    ("model", "recipe", "kind"),
    [
        ("sdxl", "fp16", "model_missing"),
        ("no-such-model", "fp16", "model_missing"),
        ("z-image-turbo", "no-such-recipe", "load_error"),
    ],
)
def test_what_this_node_cannot_hold_is_a_failure_with_a_kind(
    library: Library, model: str, recipe: str, kind: str
) -> None:
    with pytest.raises(RenderError) as caught:
        load_command(model, recipe, shot(), library)

    assert caught.value.kind == kind


def test_a_recipe_with_a_file_of_its_own_is_loaded_with_it(library: Library, tmp_path: Path) -> None:
    turbo = library.catalog.models["z-image-turbo"]
    named = GgufFile(path="turbo-q4.gguf", identity="sha256:" + "1" * 64)
    library.catalog.models["z-image-turbo"] = replace(turbo, gguf={"gguf-q4": named})
    wanted = ("z-image-turbo", "gguf-q4-fp32", shot(), library)
    with pytest.raises(RenderError, match=r"needs gguf/turbo-q4\.gguf") as caught:
        load_command(*wanted)
    assert caught.value.kind == "model_missing"

    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / "turbo-q4.gguf").touch()

    found = load_command(*wanted).gguf
    assert found is not None
    assert (found.file, found.identity) == (tmp_path / "gguf" / "turbo-q4.gguf", named.identity)
    assert load_command("z-image-turbo", "fp8", shot(), library).gguf is None


def test_a_lora_that_is_not_here_is_missing(library: Library) -> None:
    with pytest.raises(RenderError, match="LoRA ana_v2") as caught:
        load_command("z-image-turbo", "fp8", shot(loras=(LoraUse("ana_v2", "", 0.8),)), library)

    assert caught.value.kind == "model_missing"
