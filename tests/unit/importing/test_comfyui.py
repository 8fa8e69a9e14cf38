"""ComfyUI workflows in both forms, as far as they make a picture from text."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from common.catalog import Lora
from coordinator.importing.imported import UnusableSource
from tests.unit.expand.making import FREE
from tests.unit.importing import making
from tests.unit.importing.making import Imported, as_json, imported, png


def _node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


API: dict[str, Any] = {
    "1": _node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors"),
    "2": _node(
        "LoraLoader",
        lora_name="ink.safetensors",
        strength_model=0.8,
        strength_clip=0.8,
        model=["1", 0],
        clip=["1", 1],
    ),
    "3": _node("CLIPTextEncode", text="a cat in a {hat}", clip=["2", 1]),
    "4": _node("CLIPTextEncode", text="blurry", clip=["2", 1]),
    "5": _node("EmptyLatentImage", width=832, height=1216, batch_size=1),
    "6": _node(
        "KSampler",
        seed=99,
        steps=22,
        cfg=6.5,
        sampler_name="dpmpp_2m",
        scheduler="normal",
        denoise=1.0,
        model=["2", 0],
        positive=["3", 0],
        negative=["4", 0],
        latent_image=["5", 0],
    ),
    "7": _node("VAEDecode", samples=["6", 0], vae=["1", 2]),
    "8": _node("SaveImage", images=["7", 0], filename_prefix="x"),
}


def _changed(**nodes: Any) -> dict[str, Any]:
    graph = copy.deepcopy(API)
    for name, node in nodes.items():
        graph[name.removeprefix("n")] = node
    return graph


def _read(graph: Any) -> Imported:
    return imported(as_json(graph), "flow.json")


def test_a_text_to_image_graph_is_followed_from_its_end() -> None:
    found = _read(API)
    (shot,) = found.shots
    assert (shot.prompt, shot.negative, shot.seed, shot.steps) == ("a cat in a {hat}", "blurry", 99, 22)
    assert (shot.model, shot.guidance, shot.sampler) == ("sdxl", 6.5, "dpmpp_2m")
    assert (shot.width, shot.height) == (832, 1216)
    assert set(found.left) == {"LoRA ink.safetensors"}


def test_a_picture_carries_its_graph() -> None:
    assert imported(png(prompt=as_json(API)), "x.png").ids == _read(API).ids


def test_values_come_through_nodes_that_hold_them() -> None:
    graph = _changed(n10=_node("PrimitiveStringMultiline", value="a dog"), n11=_node("PrimitiveInt", value=7))
    graph["3"]["inputs"]["text"] = ["10", 0]
    graph["6"]["inputs"]["seed"] = ["11", 0]
    (shot,) = _read(graph).shots
    assert (shot.prompt, shot.seed) == ("a dog", 7)


def test_the_last_layer_of_the_text_encoder_is_the_clip_skip() -> None:
    graph = _changed(n10=_node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["2", 1]))
    graph["3"]["inputs"]["clip"] = ["10", 0]
    (shot,) = _read(graph).shots
    assert shot.knobs == (("clip_skip", 2.0),)


def test_a_batch_is_seeds_that_follow_each_other_and_told() -> None:
    graph = _changed(n5=_node("EmptyLatentImage", width=832, height=1216, batch_size=3))
    found = _read(graph)
    assert [shot.seed for shot in found.shots] == [99, 100, 101]
    assert "batch_size: 3" in found.left


def test_the_custom_sampler_of_newer_models_is_read() -> None:
    graph = {
        "1": _node("UNETLoader", unet_name="flux-2-klein-4b-fp8.safetensors", weight_dtype="default"),
        "2": _node("CLIPTextEncode", text="a fox", clip=["9", 0]),
        "3": _node("CFGGuider", model=["1", 0], positive=["2", 0], negative=["10", 0], cfg=1),
        "4": _node("RandomNoise", noise_seed=5),
        "5": _node("KSamplerSelect", sampler_name="euler"),
        "6": _node("Flux2Scheduler", steps=4, width=1024, height=768),
        "7": _node("EmptyFlux2LatentImage", width=1024, height=768, batch_size=1),
        "8": _node(
            "SamplerCustomAdvanced",
            noise=["4", 0],
            guider=["3", 0],
            sampler=["5", 0],
            sigmas=["6", 0],
            latent_image=["7", 0],
        ),
        "9": _node("CLIPLoader", clip_name="qwen_3_4b.safetensors", type="flux2"),
        "10": _node("ConditioningZeroOut", conditioning=["2", 0]),
        "11": _node("VAEDecode", samples=["8", 0], vae=["12", 0]),
        "12": _node("VAELoader", vae_name="flux2-vae.safetensors"),
        "13": _node("SaveImage", images=["11", 0]),
    }
    (shot,) = _read(graph).shots
    assert (shot.model, shot.prompt, shot.seed, shot.steps) == ("flux2-klein-4b", "a fox", 5, 4)
    assert (shot.guidance, shot.width, shot.height, shot.sampler) == (1.0, 1024, 768, "euler")


def test_the_guidance_of_flux1_is_that_of_its_own_node() -> None:
    graph = _changed(
        n1=_node("UNETLoader", unet_name="flux1-dev-fp8.safetensors"),
        n3=_node("FluxGuidance", conditioning=["10", 0], guidance=2.5),
        n10=_node("CLIPTextEncodeFlux", clip_l="a cat", t5xxl="a cat in a hat", guidance=3.5, clip=["9", 0]),
    )
    graph["6"]["inputs"] |= {"cfg": 1, "sampler_name": "euler"}
    (shot,) = _read(graph).shots
    assert (shot.model, shot.prompt, shot.guidance) == ("flux1-dev", "a cat in a hat", 2.5)


def test_guidance_of_z_image_counts_from_0_here() -> None:
    graph = _changed(
        n1=_node("UNETLoader", unet_name="z_image_turbo_bf16.safetensors"),
        n2=_node("ModelSamplingAuraFlow", shift=3, model=["1", 0]),
    )
    graph["6"]["inputs"] |= {"cfg": 1, "sampler_name": "res_multistep", "scheduler": "simple"}
    found = _read(graph)
    (shot,) = found.shots
    assert (shot.model, shot.guidance, shot.knobs) == ("z-image-turbo", 0.0, (("shift", 3.0),))
    # Its `simple` is the model's own schedule.
    assert shot.sampler == "res_multistep"


def test_two_samplers_side_by_side_are_two_pictures() -> None:
    graph = _changed(
        n16=copy.deepcopy(API["6"]),
        n17=_node("VAEDecode", samples=["16", 0]),
        n18=_node("SaveImage", images=["17", 0]),
    )
    graph["16"]["inputs"]["seed"] = 100
    assert sorted(shot.seed for shot in _read(graph).shots) == [99, 100]


def test_what_enlarges_the_finished_picture_is_left() -> None:
    graph = _changed(n9=_node("ImageUpscaleWithModel", image=["7", 0], upscale_model=["20", 0]))
    graph["8"]["inputs"]["images"] = ["9", 0]
    found = _read(graph)
    assert found.shots[0].width == 832
    assert "`ImageUpscaleWithModel` (node 9)" in found.left


_SECOND = copy.deepcopy(API["6"])
_SECOND["inputs"]["latent_image"] = ["21", 0]


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        (
            {"n5": _node("VAEEncode", pixels=["20", 0]), "n20": _node("LoadImage", image="a.png")},
            "starts from `VAEEncode`",
        ),
        (
            {"n3": _node("ControlNetApplyAdvanced", positive=["4", 0])},
            "builds the positive prompt with `ControlNetApplyAdvanced`",
        ),
        (
            {
                "n21": _node("LatentUpscale", samples=["6", 0]),
                "n22": _SECOND,
                "n7": _node("VAEDecode", samples=["22", 0]),
            },
            "second sampling pass",
        ),
        ({"n7": _node("MyNode", samples=["6", 0])}, "changes the image with `MyNode`"),
        ({"n2": _node("IPAdapterApply", model=["1", 0], image=["20", 0])}, "changes the model"),
        ({"n8": _node("Other")}, "saves no image"),
        (
            {"n3": _node("CLIPTextEncode", text=["30", 0]), "n30": _node("Joiner", a="x", b="y")},
            "not supported",
        ),
        ({"n2": _node("LoraLoader", lora_name="x", strength_model=1, model=["2", 0])}, "with a cycle"),
        ({"n7": _node("ImageScale", image=["7", 0])}, "saves no image"),
    ],
)
def test_a_graph_whose_picture_would_be_another_one_is_refused(nodes: dict[str, Any], why: str) -> None:
    with pytest.raises(UnusableSource, match=why):
        _read(_changed(**nodes))


def _editor(
    kind: str, number: int, values: list[Any], inputs: list[tuple[str, str, int | None]], **more: Any
) -> dict[str, Any]:
    return {
        "id": number,
        "type": kind,
        "widgets_values": values,
        "inputs": [{"name": name, "type": type_, "link": link} for name, type_, link in inputs],
        "outputs": [],
        "mode": 0,
    } | more


EDITOR: dict[str, Any] = {
    "nodes": [
        _editor("CheckpointLoaderSimple", 1, ["sd_xl_base_1.0.safetensors"], []),
        _editor("CLIPTextEncode", 3, ["a cat in a {hat}"], [("clip", "CLIP", 2)]),
        _editor("CLIPTextEncode", 4, ["blurry"], [("clip", "CLIP", 3)]),
        _editor("EmptyLatentImage", 5, [832, 1216, 1], []),
        _editor("Reroute", 9, [], [("", "MODEL", 1)]),
        _editor(
            "LoraLoaderModelOnly",
            2,
            ["ink", 0.5],
            [("model", "MODEL", 10)],
            mode=4,
            outputs=[{"type": "MODEL"}],
        ),
        _editor(
            "KSampler",
            6,
            [99, "randomize", 22, 6.5, "dpmpp_2m", "normal", 1],
            [
                ("model", "MODEL", 4),
                ("positive", "C", 5),
                ("negative", "C", 6),
                ("latent_image", "LATENT", 7),
            ],
        ),
        _editor("VAEDecode", 7, [], [("samples", "LATENT", 8), ("vae", "VAE", 9)]),
        _editor("SaveImage", 8, ["x"], [("images", "IMAGE", 11)]),
        _editor("SaveImage", 12, ["x"], [("images", "IMAGE", None)], mode=2),
    ],
    "links": [
        [1, 1, 0, 9, 0, "MODEL"],
        [2, 1, 1, 3, 0, "CLIP"],
        [3, 1, 1, 4, 0, "CLIP"],
        [10, 9, 0, 2, 0, "MODEL"],
        [4, 2, 0, 6, 0, "MODEL"],
        [5, 3, 0, 6, 1, "C"],
        [6, 4, 0, 6, 2, "C"],
        [7, 5, 0, 6, 3, "LATENT"],
        [8, 6, 0, 7, 0, "LATENT"],
        [9, 1, 2, 7, 1, "VAE"],
        [11, 7, 0, 8, 0, "IMAGE"],
    ],
}


def test_the_editors_form_gives_the_same_past_reroutes_and_bypassed_nodes() -> None:
    assert _read(EDITOR).ids == _read(API).ids
    assert _read(EDITOR).left == {}


def test_variants_of_the_editor_are_variants_here() -> None:
    graph = copy.deepcopy(EDITOR)
    graph["nodes"][1]["widgets_values"] = ["a {red|blue} cat"]
    assert _read(graph).shots[0].prompt in ("a red cat", "a blue cat")


def test_graphs_inside_nodes_are_followed() -> None:
    inner = {
        "id": "abc-def",
        "nodes": [EDITOR["nodes"][6]],
        "inputs": [{"name": name} for name in ("model", "positive", "negative", "latent")],
        "outputs": [{"name": "LATENT"}],
        "links": [
            *(
                {
                    "id": link,
                    "origin_id": -10,
                    "origin_slot": slot,
                    "target_id": 6,
                    "target_slot": slot,
                    "type": "X",
                }
                for slot, link in enumerate((4, 5, 6, 7))
            ),
            {"id": 8, "origin_id": 6, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "LATENT"},
        ],
    }
    graph = copy.deepcopy(EDITOR)
    outer = _editor(
        "abc-def",
        6,
        [],
        [("model", "MODEL", 4), ("positive", "C", 5), ("negative", "C", 6), ("latent", "LATENT", 7)],
    )
    graph["nodes"][6] = outer
    graph["definitions"] = {"subgraphs": [inner]}
    assert _read(graph).ids == _read(API).ids


@pytest.mark.parametrize("key", ["nodes", "links"])
def test_a_broken_workflow_is_one_sentence(key: str) -> None:
    with pytest.raises(UnusableSource):
        _read(EDITOR | {key: [{"id": 3}, [1]]})


def test_both_weights_of_a_lora_are_kept_in_the_order_of_the_farm(monkeypatch: pytest.MonkeyPatch) -> None:
    ink = Lora(name="ink", base="sdxl", identity=f"sha256:{'a' * 64}", path="ink.safetensors", license=FREE)
    monkeypatch.setattr(making, "CATALOG", replace(making.CATALOG, loras={"ink": ink}))
    graph = copy.deepcopy(API)
    graph["2"]["inputs"]["strength_clip"] = 0.5
    web_ui = "a cat <lora:ink:0.5:0.8>\nSteps: 20, Sampler: Euler, Size: 1024x1024, Model: sd_xl_base_1.0"
    for content, name in ((as_json(graph), "x.json"), (png(parameters=web_ui), "x.png")):
        (use,) = imported(content, name).shots[0].loras
        assert (use.name, use.weight, use.text_weight) == ("ink", 0.8, 0.5)
