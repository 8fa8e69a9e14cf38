"""Textual inversions in prompts: what names one, how many tokens it takes, and which shots it changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.catalog import Catalog, Model, TextualInversion, load_catalog
from common.errors import InvalidDocument
from common.manifest.parse import parse_manifest
from common.prompt_chunks import CHUNK, count_tokens, prompt_chunks
from common.prompt_rules import PromptRules
from common.shot import PlannedShot, Shot
from common.textual_inversions import mentioned, vector_ids, with_vectors
from coordinator.expand import expand
from coordinator.submission.shot_checks import ShotChecks
from coordinator.submission.tokens import Tokenizers
from tests.tiny_families import clip_tokenizer
from tests.unit.expand.making import FREE


def inversion(name: str, family: str = "sd15", vectors: int = 4, digit: str = "a") -> TextualInversion:
    return TextualInversion(
        name=name, family=family, identity=f"sha256:{digit * 64}", path=f"{name}.safetensors",
        license=FREE, vectors=vectors,
    )  # fmt: skip


def catalog(*inversions: TextualInversion) -> Catalog:
    models = {
        name: replace(model, identity=f"sha256:{'1' * 64}") for name, model in load_catalog().models.items()
    }
    return replace(load_catalog(), models=models, textual_inversions={each.name: each for each in inversions})


def planned(known: Catalog, prompt: str, model: str = "sd15", more: str = "") -> list[PlannedShot]:
    text = f"version: 1\nshots:\n- model: {model}\n  prompt: {prompt}\n{more}"
    expansion = expand(parse_manifest(text, source="m.yaml", files=None, catalog=known), known)
    checks = ShotChecks(expansion, Tokenizers(known), PromptRules())
    shots = list(checks.passing())
    checks.raise_any()
    return shots


def refused(known: Catalog, prompt: str, model: str = "sd15", more: str = "") -> str:
    with pytest.raises(InvalidDocument) as caught:
        planned(known, prompt, model, more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a cat", []),
        ("a cat by embedding:ana", ["ana"]),
        ("(embedding:easy-neg:1.2), embedding:x.v2. embedding:easy-neg", ["easy-neg", "x.v2"]),
        ("[embedding:a], (embedding:b)1.1", ["a", "b"]),
        ("myembedding:a, embedding: a, embedding:", []),
    ],
)
def test_a_prompt_names_textual_inversions_as_comfyui_does(text: str, names: list[str]) -> None:
    assert mentioned(text) == names


words = st.lists(
    st.sampled_from(["a", "bb", ",", "embedding:six", "(embedding:six:1.3)", "BREAK"]), max_size=60
)


@given(words)
def test_no_textual_inversion_is_cut_by_the_end_of_a_chunk(parts: list[str]) -> None:
    ids = vector_ids({"six": 6})
    found = prompt_chunks(" ".join(parts), with_vectors(lambda text: [1] * len(text.split()), ids), comma=2)
    for chunk in found:
        assert len(chunk) <= CHUNK
        vectors = [token.id for token in chunk if token.id < 0]
        assert vectors == [*ids["six"]] * (len(vectors) // 6)
    six = sum("six" in part for part in parts)
    assert sum(token.id < 0 for chunk in found for token in chunk) == 6 * six


def test_one_that_fills_a_chunk_by_itself_is_taken_whole() -> None:
    ids = vector_ids({"full": 75})
    chunks = prompt_chunks("a embedding:full b", with_vectors(lambda text: [1], ids), comma=None)
    assert [len(chunk) for chunk in chunks] == [1, 75, 1]
    assert count_tokens(chunks) == 151


def test_a_shot_bears_the_file_of_what_its_prompts_name_and_nothing_else() -> None:
    known = catalog(inversion("ana"), inversion("neg", digit="b"), inversion("unused", digit="c"))
    (plain,) = planned(known, "a cat")
    (named,) = planned(known, "a cat, embedding:ana", more="  negative: (embedding:neg:1.2)\n")
    assert plain.shot.inversions == ()
    assert [tuple(use) for use in named.shot.inversions] == [
        ("ana", f"sha256:{'a' * 64}"),
        ("neg", f"sha256:{'b' * 64}"),
    ]
    assert named.id == named.shot.id
    assert Shot.from_dict(named.shot.to_dict()) == named.shot
    # Another file of the name is another shot, another entry is not.
    changed = catalog(inversion("ana", digit="d"), inversion("neg", digit="b"))
    (other,) = planned(changed, "a cat, embedding:ana", more="  negative: (embedding:neg:1.2)\n")
    assert other.id != named.id
    (same,) = planned(changed, "a cat")
    assert same.id == plain.id


def test_names_in_values_and_wildcards_count_as_well() -> None:
    known = catalog(inversion("ana"), inversion("bo", digit="b"))
    more = "  axes: {who: [ana, bo, nobody]}\n"
    said = refused(known, '"a portrait, embedding:{who}"', more=more)
    assert (
        said == "m.yaml:4:11: shots[0].prompt: unknown textual inversion `nobody`; known are `ana` and `bo`"
    )
    shots = planned(known, '"a portrait, embedding:{who}"', more=more.replace(", nobody", ""))
    assert [use.name for each in shots for use in each.shot.inversions] == ["ana", "bo"]


@pytest.mark.parametrize(
    ("prompt", "model", "said"),
    [
        (
            "a cat, embedding:anna",
            "sd15",
            "m.yaml:4:18: shots[0].prompt: unknown textual inversion `anna`: did you mean `ana`?",
        ),
        ("a cat, embedding:ana.pt", "sd15", "unknown textual inversion `ana.pt`; write `embedding:ana`"),
        ("a cat, embedding:ana", "sdxl", "`ana` is for sd15 and cannot work on `sdxl`; leave it out"),
    ],
)
def test_what_cannot_be_used_is_refused_where_it_is_named(prompt: str, model: str, said: str) -> None:
    assert said in refused(catalog(inversion("ana")), prompt, model)


def test_what_is_wrong_with_its_file_is_told() -> None:
    known = replace(catalog(inversion("ana")), judge_inversion=lambda one: f"{one.name} is broken")
    assert "textual inversion `ana` cannot be used: ana is broken" in refused(known, "embedding:ana")


def test_other_families_read_plain_text_and_are_warned_of() -> None:
    known = catalog(inversion("ana"))
    (shot,) = planned(known, "a cat, embedding:ana", "z-image")
    assert shot.shot.inversions == ()
    text = "version: 1\nshots:\n- {model: MODEL, prompt: PROMPT}\n"

    def warned(model: str, prompt: str) -> list[str]:
        manifest = text.replace("MODEL", model).replace("PROMPT", prompt)
        return [
            each.message for each in parse_manifest(manifest, source="m", files=None, catalog=known).warnings
        ]

    assert warned("z-image", "embedding:ana") == [
        "`embedding:ana` is plain text for `z-image`: it takes no textual inversions; leave it out"
    ]
    bare = "`ana` is plain text here; for the textual inversion write `embedding:ana`"
    assert warned("sd15", "a cat by ana") == [bare]
    assert warned("sd15", "a cat by <ana>") == [bare]
    assert warned("sd15", "embedding:ana and banana") == []
    assert warned("sdxl", "a cat by ana") == []


def test_its_vectors_count_as_tokens(tmp_path: Path) -> None:
    clip_tokenizer().save_pretrained(tmp_path / "sd15" / "tokenizer")
    known = catalog(inversion("ana", vectors=20))
    models = {"sd15": replace(known.models["sd15"], path="sd15")}
    reader = Tokenizers(replace(known, models=models), (tmp_path,)).reader("sd15")
    assert reader is not None
    # To this tokenizer a letter is a token.
    assert reader.count("a, embedding:ana") == 2 + 20
    assert reader.count("a, embedding:bob") > 2 + len("embedding")
    model: Model = models["sd15"]
    limit = model.family.max_tokens
    (shot,) = planned(known, "a cat")
    over = shot.shot._replace(prompt="embedding:ana " * (limit // 20 + 1))
    assert reader.prompt_too_long(over)
