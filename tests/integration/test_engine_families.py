"""Every family of the catalog renders in the engine as a plain call of its pipeline does."""

from __future__ import annotations

import inspect
import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy
import pytest
from PIL import Image

from common.catalog import Family, load_catalog, lora_parts
from common.catalog.samplers import method_and_schedule
from common.shot import Shot
from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from gpu_node.identity import Hashes
from tests.engine_talk import ask, encode_command, load_command, pixels, render, render_command, shot
from tests.tiny_families import TWINS


@dataclass(frozen=True)
class Case:
    """A model of the catalog whose family is tried, and how."""

    model: str
    sampler: str
    guidance: float
    negative: str = ""


#: Scheduler of diffusers for a method of models that predict noise.
SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "dpmpp_sde": "DPMSolverSDEScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lcm": "LCMScheduler",
    "unipc": "UniPCMultistepScheduler",
}


CASES = [
    Case("sd15", "ddim", 1.0),
    # SDXL takes an empty negative prompt as zeros.
    Case("sdxl", "euler", 5.0),
    Case("flux1-schnell", "euler", 0.0),
    Case("flux1-dev", "euler", 3.5),
    Case("flux2-klein-4b", "euler", 1.0),
    Case("chroma1-hd", "lcm", 1.0),
    Case("chroma1-hd", "euler", 3.0, "blurry"),
    Case("qwen-image", "heun", 1.0),
    Case("qwen-image", "euler", 4.0, "blurry"),
    Case("z-image-turbo", "euler", 0.0),
    Case("z-image", "euler", 3.0, "blurry"),
    *(Case("sd15", sampler, 5.0, "blurry") for sampler in (*SCHEDULERS, "dpmpp_2m_karras", "euler_beta")),
    *(Case("sdxl", sampler, 5.0, "blurry") for sampler in ("euler", "dpmpp_sde_karras")),
    # Steps of flow samplers are proved in tests/unit/node/engine/test_flow_samplers.py.
    Case("z-image-turbo", "res_multistep_karras", 0.0),
    Case("z-image-turbo", "dpmpp_sde", 0.0),
    Case("flux1-dev", "euler_a", 1.0),
    Case("flux2-klein-4b", "dpmpp_2m_beta", 1.0),
]


@pytest.fixture(scope="module")
def folder_of(twin_of: Callable[[str], Path]) -> Callable[[str], Path]:
    """The twin of a model's family."""
    return lambda model: twin_of(load_catalog().models[model].family.name)


def plain_call(family: Family, folder: Path, one: Shot) -> numpy.ndarray:
    import diffusers
    import torch

    from gpu_node.engine.schedulers import scheduler_for

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = getattr(diffusers, family.pipeline).from_pretrained(str(folder), use_safetensors=True)
        pipe.set_progress_bar_config(disable=True)
        generator = [torch.Generator("cpu").manual_seed(one.seed)]
        method, schedule = method_and_schedule(one.sampler)
        is_flow = type(pipe.scheduler).__name__.startswith("FlowMatch")
        if is_flow and method != "euler":
            pipe.scheduler = scheduler_for(pipe.scheduler, one.sampler, None, generator)
        else:
            kind = type(pipe.scheduler) if is_flow else getattr(diffusers, SCHEDULERS[method])
            settings: dict[str, object] = {f"use_{schedule}_sigmas": True} if schedule else {}
            if method == "dpmpp_sde":
                settings["noise_sampler_seed"] = [one.seed]
            pipe.scheduler = kind.from_config(pipe.scheduler.config, **settings)
        guidance = "true_cfg_scale" if family.pipeline == "QwenImagePipeline" else "guidance_scale"
        more: dict[str, object] = {guidance: one.guidance}
        if family.takes_negative and one.negative:
            more["negative_prompt"] = [one.negative]
        if "max_sequence_length" in inspect.signature(pipe.__call__).parameters:
            more["max_sequence_length"] = family.max_tokens
        image = pipe(
            prompt=[one.prompt],
            width=one.width,
            height=one.height,
            num_inference_steps=one.steps,
            generator=generator,
            **more,
        ).images[0]
    return numpy.asarray(image).astype(int)


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.model}-{case.sampler}-{case.guidance}-{case.negative}"
)
def test_an_engines_picture_is_that_of_a_plain_call(
    engine: EngineClient, folder_of: Callable[[str], Path], case: Case
) -> None:
    family = load_catalog().models[case.model].family
    folder = folder_of(case.model)
    one = shot(seed=6, steps=3, sampler=case.sampler, guidance=case.guidance, negative=case.negative)
    command = load_command(
        folder,
        pipeline=family.pipeline,
        max_tokens=family.max_tokens,
        tokenizer=family.tokenizer,
        guided_above=family.guidance_doubles_above,
        weights={},
    )
    assert isinstance(ask(engine, command)[-1], protocol.Completed)

    # In company, so that joining the texts of a pass is tried too.
    # The other prompt has two chunks on Stable Diffusion.
    files = render(engine, one, one._replace(seed=7, prompt="a much longer prompt of a blue lamp, " * 3))

    with Image.open(files[one.id]) as image:
        found = numpy.asarray(image).astype(int)
    expected = plain_call(family, folder, one)
    assert expected.std() > 1
    assert abs(found - expected).max() <= 1


def test_a_sampler_that_runs_the_denoiser_twice_a_step_counts_its_steps_and_not_its_runs(
    engine: EngineClient, folder_of: Callable[[str], Path]
) -> None:
    family = load_catalog().models["sd15"].family
    ask(
        engine,
        load_command(
            folder_of("sd15"), pipeline=family.pipeline, max_tokens=77, guided_above=1.0, weights={}
        ),
    )
    one = shot(steps=3, sampler="heun", guidance=5.0)
    ask(engine, encode_command(one.prompt, negatives=("",)))

    steps = [event.done for event in ask(engine, render_command(one)) if isinstance(event, protocol.Step)]

    assert steps == [0, 1, 1, 2, 3]


@pytest.mark.parametrize("model", ["sd15", "sdxl"])
def test_a_text_is_encoded_anew_for_another_clip_skip_or_weight(
    engine: EngineClient, folder_of: Callable[[str], Path], model: str
) -> None:
    family = load_catalog().models[model].family
    changes = {"pipeline": family.pipeline, "max_tokens": family.max_tokens, "guided_above": 1.0}
    ask(engine, load_command(folder_of(model), weights={}, **changes))
    plain = shot(steps=2, guidance=5.0, negative="blurry")
    skipping = plain._replace(knobs=(("clip_skip", 3.0),))
    heavy = plain._replace(prompt="a (red:1.9) mug")

    shown = [pixels(render(engine, one)[one.id]) for one in (plain, skipping, heavy, plain)]

    assert shown[0] == shown[3]
    assert len(set(shown)) == 3


@pytest.mark.parametrize(
    ("model", "recipe"),
    [
        ("sdxl", "fp8-fp32"),
        ("flux1-dev", "fp8-fp32"),
        ("chroma1-hd", "fp8"),
        ("flux2-klein-4b", "fp8-fp32"),
        ("qwen-image", "fp8-tiled"),
        ("z-image-turbo", "fp8-small"),
        ("flux1-dev", "int8"),
        ("chroma1-hd", "int8-fp32"),
        ("flux2-klein-4b", "int8-fp32"),
        ("qwen-image", "int8-tiled"),
        ("z-image-turbo", "int8-small"),
    ],
)
def test_every_family_that_is_held_in_8_bits_renders(
    engine: EngineClient, folder_of: Callable[[str], Path], model: str, recipe: str
) -> None:
    known = load_catalog().models[model]
    held = known.recipe(recipe)
    changes = {"compute_dtype": held.compute_dtype, "weights": held.weights, "placement": held.placement}
    command = load_command(
        folder_of(model),
        pipeline=known.family.pipeline,
        max_tokens=known.family.max_tokens,
        guided_above=None,
        quantisation=held.quantisation,
        **changes,
    )
    assert isinstance(ask(engine, command)[-1], protocol.Completed)
    one = shot(steps=2)

    with Image.open(render(engine, one)[one.id]) as image:
        assert numpy.asarray(image).std() > 1


def test_what_a_lora_can_change_is_what_the_engine_lets_it_change() -> None:
    import diffusers

    from gpu_node.engine.loras import changeable_parts

    for model in load_catalog().models.values():
        changeable = changeable_parts(getattr(diffusers, model.family.pipeline))
        assert lora_parts(model.components) == changeable & model.components.keys()


def test_every_family_has_a_twin() -> None:
    assert TWINS.keys() == {model.family.name for model in load_catalog().models.values()}


def test_a_safety_checker_is_not_read(
    engine: EngineClient, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    family = load_catalog().models["sd15"].family
    folder = shutil.copytree(folder_of("sd15"), tmp_path / "with-checker")
    index = folder / "model_index.json"
    checker = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    index.write_text(json.dumps(json.loads(index.read_text()) | checker))
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "pytorch_model.bin").touch()

    answer = ask(engine, load_command(folder, pipeline=family.pipeline, max_tokens=77, weights={}))[-1]

    assert isinstance(answer, protocol.Completed)


@pytest.mark.parametrize(
    ("model", "compute"),
    [
        ("sd15", "bfloat16"),
        ("sdxl", "bfloat16"),
        ("flux1-dev", "bfloat16"),
        ("flux1-dev", "float32"),
        ("chroma1-hd", "bfloat16"),
        ("chroma1-hd", "float32"),
        ("flux2-klein-4b", "bfloat16"),
        ("qwen-image", "float32"),
        ("z-image-turbo", "float32"),
    ],
)
def test_parts_in_different_dtypes_work_together(
    engine: EngineClient, folder_of: Callable[[str], Path], model: str, compute: str
) -> None:
    family = load_catalog().models[model].family
    weights = {"text_encoder": "bfloat16", "text_encoder_2": "bfloat16", "vae": "float32"}
    changes = {
        "pipeline": family.pipeline,
        "max_tokens": family.max_tokens,
        "weights": weights,
        "compute_dtype": compute,
    }
    placement = ("text_encoder_on_cpu", "vae_slicing", "vae_tiling")
    ask(engine, load_command(folder_of(model), guided_above=None, placement=placement, **changes))
    one = shot(steps=2)

    files = render(engine, one, one._replace(seed=2))

    with Image.open(files[one.id]) as image:
        assert numpy.asarray(image).std() > 1


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_vae_decodes_in_the_type_that_the_recipe_lists(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    from gpu_node.engine.pipelines import LoadedModelSlot
    from gpu_node.engine.render import render_pass

    family = load_catalog().models["sdxl"].family
    folder = folder_of("sdxl")
    assert json.loads((folder / "vae" / "config.json").read_text())["force_upcast"]
    slot = LoadedModelSlot("cpu", Hashes(tmp_path / "hashes"))
    weights = {"vae": "float16"}
    slot.hold(load_command(folder, pipeline=family.pipeline, max_tokens=77, weights=weights))
    assert slot.model is not None
    seen = []
    slot.model.pipe.vae.decoder.register_forward_pre_hook(lambda _, given: seen.append(str(given[0].dtype)))
    one = shot(steps=1)
    slot.model.texts.encode(encode_command(one.prompt), lambda: None)

    done = render_pass(slot.model, [one], lambda done, total: None)

    assert isinstance(done.pictures[0], Image.Image)
    assert seen == ["torch.float16"]
