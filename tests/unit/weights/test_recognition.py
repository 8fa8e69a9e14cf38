"""Kind and family of weight files, by names and shapes as the programs that people use write them."""

from __future__ import annotations

import pytest

from common.errors import Invalid
from common.weights import recognise
from tests.unit.weights.files import header_of, lora_shapes

LDM_UNET = {
    "input_blocks.0.0.weight": (320, 4, 3, 3),
    "time_embed.0.weight": (1280, 320),
    "out.2.weight": (4, 320, 3, 3),
}
VAE = {"decoder.mid.block_1.norm1.weight": (512,), "decoder.conv_in.weight": (512, 4, 3, 3)}
Z_IMAGE = {
    "cap_embedder.0.weight": (2560,),
    "layers.0.adaLN_modulation.0.weight": (15360, 256),
    "layers.0.attention.qkv.weight": (11520, 3840),
}
DENOISER = "model.diffusion_model."


def below(prefix: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {prefix + key: shape for key, shape in shapes.items()}


CROSS = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
CHECKPOINTS = {
    "sd15": below(DENOISER, LDM_UNET | {CROSS: (320, 768)}) | {"cond_stage_model.transformer.a": (7,)},
    "sd2": below(DENOISER, LDM_UNET | {CROSS: (320, 1024)}) | {"cond_stage_model.model.a": (7,)},
    "sdxl": below(DENOISER, LDM_UNET | {"label_emb.0.0.weight": (1280, 2816), CROSS: (320, 2048)})
    | {"conditioner.embedders.0.transformer.a": (7,), "conditioner.embedders.1.model.a": (9,)},
    "sdxl-refiner": below(DENOISER, LDM_UNET | {"label_emb.0.0.weight": (1536, 2560), CROSS: (384, 1280)})
    | {"conditioner.embedders.0.model.a": (7,)},
    "inpainting": below(DENOISER, LDM_UNET | {"input_blocks.0.0.weight": (320, 9, 3, 3)})
    | {"cond_stage_model.transformer.a": (7,)},
    "z-image": below(DENOISER, Z_IMAGE) | {"text_encoders.qwen3_4b.transformer.a": (7,)},
}


@pytest.mark.parametrize("family", CHECKPOINTS)
def test_a_checkpoint_is_known_by_its_denoiser(family: str) -> None:
    vae = below("first_stage_model.", VAE)
    found = recognise(header_of(CHECKPOINTS[family] | vae), "x")

    assert (found.kind, found.families) == ("checkpoint", (family,))
    assert found.components["text_encoder"] == 7
    assert found.components["vae"] == 512 + 512 * 4 * 9
    assert found.components.get("text_encoder_2", 0) == (9 if family == "sdxl" else 0)


DENOISERS = {
    "z-image": Z_IMAGE,
    "lumina2": {"cap_embedder.0.weight": (2304,), "layers.0.adaLN_modulation.1.weight": (9216, 1024)},
    "flux1": {
        "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
        "double_blocks.0.img_mod.lin.weight": (1, 1),
    },
    "flux2-klein": {
        "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
        "single_stream_modulation.lin.weight": (9216, 3072),
    },
    "flux2-dev": {"single_stream_modulation.lin.weight": (1, 1), "guidance_in.in_layer.weight": (1, 1)},
    "chroma": {"distilled_guidance_layer.in_proj.weight": (1, 1)},
    "qwen-image": {"txt_norm.weight": (3584,), "transformer_blocks.0.img_mod.1.weight": (18432, 3072)},
    "sd3": {"joint_blocks.0.context_block.adaLN_modulation.1.weight": (9216, 1536)},
    "sd15": LDM_UNET | {CROSS: (320, 768)},
}


@pytest.mark.parametrize("family", DENOISERS)
@pytest.mark.parametrize("prefix", ["", DENOISER])
def test_a_denoiser_alone_is_known_with_and_without_a_prefix(family: str, prefix: str) -> None:
    found = recognise(header_of(below(prefix, DENOISERS[family])), "x")

    assert (found.kind, found.families) == ("denoiser", (family,))
    assert list(found.components) == ["unet" if family == "sd15" else "transformer"]
    assert not found.diffusers_names


def test_names_below_a_prefix_are_not_those_of_diffusers() -> None:
    shapes = {"single_stream_modulation.linear.weight": (9216, 3072)}

    assert recognise(header_of(shapes), "x").diffusers_names
    assert not recognise(header_of(below(DENOISER, shapes)), "x").diffusers_names


@pytest.mark.parametrize(
    ("shapes", "kind", "families"),
    [
        (VAE, "vae", ("sd15", "sdxl")),
        (VAE | {"decoder.conv_in.weight": (512, 16, 3, 3)}, "vae", ("z-image", "flux1", "chroma")),
        (VAE | {"decoder.conv_in.weight": (512, 32, 3, 3)}, "vae", ("flux2-klein",)),
        ({"model.layers.0.self_attn.q_norm.weight": (128,)}, "text_encoder", ("z-image", "flux2-klein")),
        (
            {"text_model.encoder.layers.0.self_attn.q_proj.weight": (1, 1)},
            "text_encoder",
            ("sd15", "sdxl", "flux1"),
        ),
        ({"encoder.block.0.layer.0.SelfAttention.q.weight": (1, 1)}, "text_encoder", ("flux1", "chroma")),
        ({"model.layers.0.self_attn.q_proj.weight": (1, 1)}, "text_encoder", ("qwen-image",)),
        ({"decoder.middle.0.residual.0.gamma": (384, 1, 1, 1)}, "vae", ("qwen-image",)),
        ({"emb_params": (4, 768)}, "textual_inversion", ("sd15",)),
        ({"<cat>": (768,)}, "textual_inversion", ("sd15",)),
        ({"<cat>": (1, 1024)}, "textual_inversion", ("sd2",)),
        ({"emb_params": (2, 640)}, "textual_inversion", ()),
        ({"clip_l": (4, 768), "clip_g": (4, 1280)}, "textual_inversion", ("sdxl",)),
        ({"clip_l": (4, 768), "clip_g": (3, 1280)}, "textual_inversion", ()),
        ({"conv_first.weight": (64, 3, 3, 3), "conv_last.weight": (3, 64, 3, 3)}, "upscaler", ()),
    ],
)
def test_other_files_are_known_by_their_tensors(
    shapes: dict[str, tuple[int, ...]], kind: str, families: tuple[str, ...]
) -> None:
    found = recognise(header_of(shapes), "x")

    assert (found.kind, found.families) == (kind, families)


LORAS: dict[str, tuple[tuple[str, ...], dict[str, tuple[int, ...]]]] = {
    "z-image": (("z-image",), lora_shapes({"transformer.layers.0.attention.to_q": (3840, 3840)})),
    "z-image fused": (("z-image",), lora_shapes({"diffusion_model.layers.0.attention.qkv": (3840, 11520)})),
    "z-image kohya": (
        ("z-image",),
        lora_shapes(
            {"lora_unet_layers_0_attention_qkv": (3840, 11520)}, "lora_down.weight", "lora_up.weight"
        ),
    ),
    "lumina2": (("lumina2",), lora_shapes({"diffusion_model.layers.0.attention.qkv": (2304, 3840)})),
    "sd15 kohya": (
        ("sd15",),
        lora_shapes(
            {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (768, 320)},
            "lora_down.weight",
            "lora_up.weight",
        ),
    ),
    "sdxl kohya": (
        ("sdxl",),
        lora_shapes(
            {"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": (2048, 640)},
            "lora_down.weight",
            "lora_up.weight",
        ),
    ),
    "sdxl without cross attention": (
        ("sdxl",),
        lora_shapes({"unet.mid_block.attentions.0.transformer_blocks.7.attn1.to_q": (1280, 1280)}),
    ),
    "sdxl loha": (
        ("sdxl",),
        lora_shapes(
            {"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": (2048, 640)},
            "hada_w1_b",
            "hada_w1_a",
        ),
    ),
    "sdxl lokr": (
        ("sdxl",),
        {
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lokr_w1": (8, 16),
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lokr_w2": (80, 128),
        },
    ),
    "flux1": (("flux1",), lora_shapes({"lora_unet_double_blocks_0_img_mod_lin": (3072, 18432)})),
    "flux1 or chroma": (
        ("flux1", "chroma"),
        lora_shapes({"lora_unet_single_blocks_0_linear1": (3072, 21504)}),
    ),
    "flux1 diffusers": (
        ("flux1", "chroma"),
        lora_shapes({"transformer.single_transformer_blocks.37.attn.to_q": (3072, 3072)}),
    ),
    "klein": (("flux2-klein",), lora_shapes({"diffusion_model.single_blocks.0.linear1": (3072, 27648)})),
    "klein 9b": (
        ("flux2-klein",),
        lora_shapes({"diffusion_model.double_blocks.0.img_attn.qkv": (4096, 12288)}),
    ),
    "klein diffusers": (
        ("flux2-klein",),
        lora_shapes({"transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj": (3072, 27648)}),
    ),
    "flux2 dev": (
        ("flux2-dev",),
        lora_shapes({"transformer.single_transformer_blocks.0.attn.to_out": (6144, 6144)}),
    ),
    "either flux": (
        ("flux1", "chroma", "flux2-klein"),
        lora_shapes({"transformer.single_transformer_blocks.3.attn.to_out": (3072, 3072)}),
    ),
    "qwen": (("qwen-image",), lora_shapes({"transformer_blocks.0.img_mlp.net.2": (12288, 3072)})),
    "unknown": ((), lora_shapes({"something.else": (5, 5)})),
}


@pytest.mark.parametrize("case", LORAS)
def test_a_lora_is_known_by_its_layers(case: str) -> None:
    families, shapes = LORAS[case]
    found = recognise(header_of(shapes), "x")

    assert (found.kind, found.families, found.lora_layers) == ("lora", families, 1)
    formats = {"loha": "loha", "lokr": "lokr", "kohya": "kohya"}
    assert found.lora_format == next((said for word, said in formats.items() if word in case), "peft")


def test_where_layers_leave_two_families_the_metadata_decides() -> None:
    _, shapes = LORAS["either flux"]

    found = recognise(header_of(shapes, {"modelspec.architecture": "flux-1-dev/lora"}), "x")

    assert found.families == ("flux1",)


def test_metadata_never_contradicts_the_layers() -> None:
    _, shapes = LORAS["z-image"]

    found = recognise(header_of(shapes, {"ss_base_model_version": "sdxl_base_v1-0"}), "x")

    assert found.families == ("z-image",)


def test_the_width_of_a_flux2_lora_tells_the_size_of_its_model() -> None:
    assert recognise(header_of(LORAS["klein 9b"][1]), "x").lora_denoiser > 9e9
    assert recognise(header_of(LORAS["klein"][1]), "x").lora_denoiser < 4e9


def test_a_flux1_lora_does_not_tell_which_model_it_is_for() -> None:
    assert recognise(header_of(LORAS["flux1"][1]), "x").lora_denoiser == 0


def test_a_t5_encoder_is_the_second_of_its_model() -> None:
    shapes = {"encoder.block.0.layer.0.SelfAttention.q.weight": (4, 2)}

    assert recognise(header_of(shapes), "x").components == {"text_encoder_2": 8}


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"something": (2, 2), "else": (1,)}, "of no kind that the farm knows: .*`something`"),
        ({}, "it has none"),
        ({"control_model.a": (2, 2)}, "is a ControlNet"),
        (Z_IMAGE | {"layers.0.attention.qkv.scale_weight": ()}, "use the file in bf16"),
    ],
)
def test_what_the_farm_cannot_use_is_refused_with_the_reason(
    shapes: dict[str, tuple[int, ...]], said: str
) -> None:
    with pytest.raises(Invalid, match=said):
        recognise(header_of(shapes), "x")
