"""Pictures with settings become manifests that make them again, or others like them."""

from __future__ import annotations

import io
import itertools
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from common.catalog import License, Upscaler
from common.infotext import farm_json, infotext
from common.shot import LoraUse, Shot, UpscalerUse
from coordinator.importing.imported import UnusableSource
from coordinator.importing.pictures import shot_id
from coordinator.pictures.encode import encoded
from tests.shots import MUG
from tests.unit.importing import making
from tests.unit.importing.making import CATALOG, Imported, as_json, chunk, fields, imported, png

_MODEL = CATALOG.models["shotfarm-demo"]
_LORA = CATALOG.loras["blueprint"]

INFOTEXT = (
    "a cat, <lora:foo:0.7> masterpiece\nin a hat\nNegative prompt: blurry,\nbad\n"
    "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 123, Size: 832x1216, "
    'Model: sd_xl_base_1.0, Clip skip: 2, Lora hashes: "foo: 123", Version: v1.9'
)


def _shot(**changes: Any) -> Shot:
    shot = MUG._replace(
        model=_MODEL.name,
        model_identity=_MODEL.identity or "",
        negative="",
        seed=4242,
        width=128,
        height=96,
        knobs=(),
    )
    return shot._replace(**changes)


def _picture(shot: Shot) -> bytes:
    return encoded(
        Image.new("RGB", (16, 16)),
        shot,
        infotext=infotext(shot, version="shotfarm 0.1.0"),
        record=farm_json(shot, template="a {thing}", recipe="fp32", version="0.1.0"),
    )


@pytest.mark.parametrize(("format_", "quality"), [("png", 0), ("webp", 90), ("jpeg", 92)])
def test_an_image_of_a_farm_names_its_shot_while_its_metadata_is_whole(format_: str, quality: int) -> None:
    shot = _shot(format=format_, quality=quality)
    content = _picture(shot)
    assert shot_id(content) == shot.id
    assert shot_id(content[:40]) is None
    assert shot_id(content.replace(shot.id.encode(), b"x" * 64)) is None
    assert shot_id(_picture(shot._replace(metadata=False))) is None


_USE = LoraUse(_LORA.name, _LORA.identity or "", 0.85)
_ODD = 'cyanotype, a {red|blue} mug __x__, (y:1.2) 颜色 \\{ [a:b:0.5] "quoted" <b>\nline two: # no comment'


@pytest.mark.parametrize(
    ("prompt", "negative", "format_", "more"),
    [
        (prompt, negative, format_, more)
        for prompt, negative in itertools.product(("cyanotype, a mug", _ODD), ("", "blurry, __bad__ {x}"))
        for format_ in (("png", 0), ("webp", 80), ("webp", 90), ("jpeg", 92), ("jpeg", 70))
        for more in ({}, {"loras": (_USE,), "knobs": (("blind_steps", 1.0), ("shift", 3.2500001))})
    ],
)
def test_a_picture_of_the_farm_becomes_the_very_same_shot(
    prompt: str, negative: str, format_: tuple[str, int], more: dict[str, Any]
) -> None:
    shot = _shot(prompt=prompt, negative=negative, format=format_[0], quality=format_[1], **more)
    assert imported(_picture(shot), f"x.{format_[0]}").ids == [shot.id]


@given(
    prompt=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1),
    seed=st.integers(0, 2**63 - 1),
    guidance=st.floats(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_any_text_of_a_picture_of_the_farm_comes_back(prompt: str, seed: int, guidance: float) -> None:
    shot = _shot(prompt=prompt, seed=seed, guidance=guidance)
    found = imported(png(shotfarm=farm_json(shot, template="", recipe="", version="1")), "x.png")
    assert found.ids == [shot.id]


def test_an_upscaled_picture_becomes_the_very_same_shot(monkeypatch: pytest.MonkeyPatch) -> None:
    shot = _shot(upscaler=UpscalerUse("4x-sharp", "sha256:" + "4" * 64, 4, 36.0))
    (left,) = imported(_picture(shot), "x.png").left.items()
    assert left == (
        "upscaler 4x-sharp",
        "the catalog has no such upscaler; add it with `farm models add`",
    )
    known = Upscaler(
        name="4x-sharp",
        architecture="ESRGAN",
        scale=4,
        tflop_per_mp=36.0,
        identity="sha256:" + "4" * 64,
        path="4x-sharp.safetensors",
        license=License(name="free", commercial=True),
    )
    monkeypatch.setattr(making, "CATALOG", replace(making.CATALOG, upscalers={known.name: known}))
    assert imported(_picture(shot), "x.png").ids == [shot.id]


def test_a_shot_of_a_private_lane_stays_in_it() -> None:
    shot = _shot(realm="studio")
    found = imported(_picture(shot), "x.png")
    assert found.ids == [shot.id]
    assert found.document["lane"] == "studio"


def test_more_like_one_have_new_seeds_and_all_else_alike() -> None:
    shot = _shot(prompt="a lamp")
    found = imported(_picture(shot), "x.png", more=10).shots
    assert len({each.seed for each in found} | {shot.seed}) == 11
    assert {each._replace(seed=shot.seed).id for each in found} == {shot.id}


def _itxt(*, packed: bool) -> bytes:
    """A packed or an international text of a PNG."""
    info = PngInfo()
    info.add_itxt("parameters", INFOTEXT.replace("a cat", "猫"), zip=packed)
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


_SWARM = {
    "prompt": "a cat <lora:x:1>",
    "negativeprompt": "bad",
    "model": "Official/sd_xl_base_1.0",
    "seed": 7,
    "steps": 21,
    "cfgscale": 6.5,
    "width": 1024,
    "height": 896,
    "sampler": "euler",
    "scheduler": "normal",
    "loras": ["blueprint"],
    "loraweights": ["0.8"],
    "swarm_version": "0.9",
}
_INVOKE = {
    "generation_mode": "sdxl_txt2img",
    "positive_prompt": "a {cat}",
    "negative_prompt": "bad",
    "width": 1024,
    "height": 1024,
    "seed": 9,
    "cfg_scale": 5.5,
    "steps": 30,
    "scheduler": "ddim",
    "model": {"name": "Juggernaut v9", "base": "sdxl"},
    "loras": [{"model": {"name": "ink"}, "weight": 0.75}],
}


@pytest.mark.parametrize(
    ("content", "wanted", "left"),
    [
        (
            png(parameters=INFOTEXT),
            {"prompt": "a cat, masterpiece\nin a hat", "negative": "blurry,\nbad", "model": "sdxl"}
            | {"steps": 20, "guidance": 7.0, "seed": 123, "width": 832, "height": 1216}
            | {"sampler": "dpmpp_2m_karras", "knobs": (("clip_skip", 2.0),)},
            {"LoRA foo": "not in the catalog"},
        ),
        (
            png(parameters=INFOTEXT.replace("Clip skip: 2", "Denoising strength: 0.4")),
            {"seed": 123},
            {"Denoising strength: 0.4": "generated from another image", "LoRA foo": ""},
        ),
        *(
            (
                _itxt(packed=packed),
                {"prompt": "猫, masterpiece\nin a hat"},
                {"LoRA foo": ""},
            )
            for packed in (True, False)
        ),
        (
            png(parameters=as_json({"sui_image_params": _SWARM})),
            {"prompt": "a cat", "negative": "bad", "seed": 7, "steps": 21, "model": "sdxl"}
            | {"guidance": 6.5, "width": 1024, "height": 896},
            {"LoRA blueprint": "", "LoRA x": ""},
        ),
        (
            png(invokeai_metadata=as_json(_INVOKE)),
            {"prompt": "a {cat}", "model": "sdxl", "guidance": 5.5, "sampler": "ddim"},
            {"model: Juggernaut v9": "`sdxl` is used", "LoRA ink": ""},
        ),
    ],
)
def test_settings_of_another_program_give_a_shot_and_what_is_left_is_told(
    content: bytes, wanted: dict[str, Any], left: dict[str, str]
) -> None:
    found = imported(content, "x.png")
    assert fields(found, [wanted]) == [wanted]
    assert set(found.left) == set(left)
    assert [what for what, why in left.items() if why not in found.left[what]] == []


@pytest.mark.parametrize(
    ("model", "skip", "knobs", "left"),
    [
        ("sd_xl_base_1.0", 2, (("clip_skip", 2.0),), []),
        ("v1-5-pruned", 2, (("clip_skip", 2.0),), []),
        # Written where nobody chose it.
        ("sd_xl_base_1.0", 1, (), []),
        ("flux1-dev-bf16", 1, (), []),
        ("flux1-dev-bf16", 2, (), ["Clip skip: 2"]),
    ],
)
def test_clip_skip_comes_along_where_the_family_has_it(
    model: str, skip: int, knobs: tuple[tuple[str, float], ...], left: list[str]
) -> None:
    text = f"a cat\nSteps: 20, Sampler: Euler, CFG scale: 4, Model: {model}, Clip skip: {skip}"
    found = imported(png(parameters=text), "x.png")
    assert [shot.knobs for shot in found.shots] == [knobs]
    assert [what for what in found.left if "Clip" in what] == left


def test_weights_are_kept_as_text_only_where_the_family_does_not_read_them() -> None:
    for model, left in (("sd_xl_base_1.0", []), ("flux1-dev-bf16", ["`(red:1.2)`"])):
        text = f"a (red:1.2) cat\nSteps: 20, Sampler: Euler, CFG scale: 4, Model: {model}"
        found = imported(png(parameters=text), "x.png")
        assert found.shots[0].prompt == "a (red:1.2) cat"
        assert [what for what in found.left if "red" in what] == left


def test_the_guidance_of_flux1_is_its_distilled_one() -> None:
    text = "a cat\nSteps: 20, Sampler: Euler, CFG scale: 1, Distilled CFG Scale: 3.5, Model: flux1-dev-bf16"
    (shot,) = imported(png(parameters=text), "x.png").shots
    assert (shot.model, shot.guidance, shot.steps) == ("flux1-dev", 3.5, 20)


def _jpeg(comment: bytes) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG", exif=exif.tobytes())
    return out.getvalue()


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + INFOTEXT.encode("utf-16-be"),
        b"UNICODE\0" + INFOTEXT.encode("utf-16-le"),
        b"UNICODE\0" + INFOTEXT.encode("utf-16"),
        b"ASCII\0\0\0" + INFOTEXT.encode(),
        b"\0" * 8 + INFOTEXT.encode(),
        INFOTEXT.encode(),
    ],
)
def test_user_comments_are_read_in_every_encoding(comment: bytes) -> None:
    assert imported(_jpeg(comment), "x.jpg").shots[0].seed == 123


def test_the_persons_model_takes_the_place_of_any_other() -> None:
    found = imported(png(parameters=INFOTEXT), "x.png", model="shotfarm-demo")
    assert {shot.model for shot in found.shots} == {"shotfarm-demo"}
    assert found.shots[0].guidance == 7.0
    with pytest.raises(UnusableSource, match="unknown model"):
        imported(png(parameters=INFOTEXT), "x.png", model="nope")


_BOMB = zlib.compress(b"a" * 20_000_000)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (png(), "contains no settings"),
        (png(parameters="just a text"), "contains no settings"),
        (png(parameters=INFOTEXT)[:80], "truncated"),
        (png(shotfarm="{"), "contains no settings"),
        (png(shotfarm=as_json({"shot": {"prompt": 3}})), "contains no settings"),
        (png(prompt="[" * 100_000), "contains no settings"),
        (png()[:-12] + chunk(b"zTXt", b"parameters\0\0" + _BOMB) + png()[-12:], "more than 8 MiB"),
        (png()[:-12] + chunk(b"zTXt", b"parameters\0\0junk") + png()[-12:], "unreadable texts"),
        (b"\xff\xd8\xff\xe1\xff\xffExif\0\0II", "contains no settings"),
        (b"RIFF\0\0\0\0WEBPEXIF\xff\xff\xff\x7f", "contains no settings"),
    ],
)
def test_a_picture_that_says_nothing_is_one_sentence(content: bytes, why: str) -> None:
    with pytest.raises(UnusableSource, match=why):
        imported(content, "x.png")


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_broken_blocks_end_in_a_sentence_or_a_manifest(data: bytes) -> None:
    for head in (
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe1\x01\x00Exif\0\0II*\0\x08\0\0\0",
        b"RIFF0000WEBPEXIF",
    ):
        try:
            found: Imported | None = imported(head + data, "x.png")
        except UnusableSource:
            found = None
        assert found is None or found.shots
