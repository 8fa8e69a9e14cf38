"""Text becomes embeddings once per distinct prompt; each family has its own way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from common.shot import Shot
from gpu_node.engine.placement import DevicePlacement
from gpu_node.errors import RenderError
from gpu_node.protocol import Load

#: Pipeline argument to embedding of one text.
Embeddings = dict[str, torch.Tensor]

#: Where the padding is stripped again, a text is padded to a multiple of so many tokens.
_PAD_TOKENS = 64


class Texts:
    """The texts of a batch, encoded for one pipeline."""

    def __init__(self, pipe: Any, load: Load, placement: DevicePlacement) -> None:
        if load.pipeline not in TEXTS:
            raise RenderError("load_error", f"this node cannot encode text for {load.pipeline}")
        self._pipe = pipe
        self._family = TEXTS[load.pipeline]
        self._load = load
        self._placement = placement
        #: By text and whether it is a negative; a text that cannot be encoded is the reason why.
        self._known: dict[tuple[str, bool], Embeddings | RenderError] = {}

    def forget(self) -> None:
        self._known = {}

    def encode(self, prompts: Sequence[str], negatives: Sequence[str], on_text: Callable[[], None]) -> None:
        """Know these texts and forget all others; those already known are not encoded again.

        `on_text` is called after each.
        """
        wanted = _sides(prompts, negatives)
        if self._known.keys() >= wanted.keys():
            return
        with self._placement.encoding(), torch.no_grad():
            known, self._known = self._known, {}
            for side in wanted:
                self._known[side] = known.get(side) or self._encode(*side)
                on_text()

    def arguments(self, shots: Sequence[Shot]) -> dict[str, Any]:
        """Texts and guidance as arguments of a pipeline call, for a pass whose shots share their guidance.

        Raises the RenderError of a text that could not be encoded.
        """
        join = self._family.join
        given = [self._side(shot.prompt, negative=False) for shot in shots]
        found: dict[str, Any] = {name: join([one[name] for one in given]) for name in given[0]}
        found[self._family.guidance] = shots[0].guidance
        above = self._load.guided_above
        if above is not None and shots[0].guidance > above:
            against = [self._side(shot.negative, negative=True) for shot in shots]
            found |= {f"negative_{name}": join([one[name] for one in against]) for name in against[0]}
        return found

    def blind(self, shots: Sequence[Shot]) -> Any:
        """Embeddings of the empty prompt for each shot, where the family can change its text while denoising.

        Raises RenderError `invalid_spec` where it cannot.
        """
        if "prompt_embeds" not in self._pipe._callback_tensor_inputs:
            raise RenderError("invalid_spec", "this model does not support blind_steps")
        empty = self._side("", negative=False)["prompt_embeds"]
        return self._family.join([empty] * len(shots))

    def _side(self, text: str, *, negative: bool) -> Embeddings:
        found = self._known[(text, negative)]
        if isinstance(found, RenderError):
            raise found
        return found

    def _encode(self, text: str, negative: bool) -> Embeddings | RenderError:
        tokenizer = getattr(self._pipe, self._load.tokenizer)
        plain = _without_special_tokens(tokenizer, text)
        tokens = len(tokenizer(self._family.written(self._pipe, plain)).input_ids)
        longest = self._load.max_tokens
        if tokens > longest:
            which = "negative prompt" if negative else "prompt"
            message = f"the {which} has {tokens} tokens, the model reads {longest}; shorten it"
            return RenderError("prompt_too_long", message)
        short = min(longest, -(-tokens // _PAD_TOKENS) * _PAD_TOKENS)
        length = longest if self._family.keeps_padding else short
        found = self._family.encode(self._pipe, plain, negative, self._placement.text_device, length)
        dtype = getattr(torch, self._load.compute_dtype)
        return {
            name: tensor.to(self._placement.device, dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in found.items()
        }


@dataclass(frozen=True, kw_only=True)
class TextFamily:
    """How one pipeline class takes its text."""

    #: (pipe, text, negative, device, padded length) to embeddings by argument name.
    encode: Callable[[Any, str, bool, str, int], Embeddings]
    #: Embeddings of several texts as one argument.
    join: Callable[[list[Any]], Any]
    #: (pipe, text) to the text as the encoder reads it, template included.
    written: Callable[[Any, str], str] = lambda _pipe, text: text
    #: Whether padding enters the picture: a text is always padded to the longest that the model reads.
    keeps_padding: bool = False
    #: Argument of the pipeline that takes a shot's guidance.
    guidance: str = "guidance_scale"


def _sides(prompts: Sequence[str], negatives: Sequence[str]) -> dict[tuple[str, bool], None]:
    return dict.fromkeys([(text, False) for text in prompts] + [(text, True) for text in negatives])


def _without_special_tokens(tokenizer: Any, text: str) -> str:
    """A prompt is plain text: `<|im_end|>` in it must not end the prompt."""
    for token in tokenizer.all_special_tokens:
        if token.startswith("<"):
            text = text.replace(token, "")
    return text


def _in_chat(pipe: Any, text: str) -> str:
    turn = [{"role": "user", "content": text}]
    return str(
        pipe.tokenizer.apply_chat_template(
            turn, tokenize=False, add_generation_prompt=True, enable_thinking=True
        )
    )


def _in_template(pipe: Any, text: str) -> str:
    return str(pipe.prompt_template_encode.format(text))


def _padded(texts: list[Any]) -> Any:
    """As one tensor, shorter ones with zeros behind them."""
    longest = max(text.shape[1] for text in texts)
    return torch.cat(
        [torch.cat([text, text.new_zeros(1, longest - text.shape[1], *text.shape[2:])], 1) for text in texts]
    )


def _z_image(pipe: Any, text: str, _negative: bool, device: str, length: int) -> Embeddings:
    found, _ = pipe.encode_prompt(
        [text], device=device, do_classifier_free_guidance=False, max_sequence_length=length
    )
    return {"prompt_embeds": found[0]}


def _klein(pipe: Any, text: str, _negative: bool, device: str, length: int) -> Embeddings:
    found, _ = pipe.encode_prompt([text], device=device, max_sequence_length=length)
    return {"prompt_embeds": found}


def _flux1(pipe: Any, text: str, _negative: bool, device: str, length: int) -> Embeddings:
    # CLIP reads the beginning, T5 everything.
    first = _without_special_tokens(pipe.tokenizer, text)
    found, pooled, _ = pipe.encode_prompt([first], [text], device=device, max_sequence_length=length)
    return {"prompt_embeds": found, "pooled_prompt_embeds": pooled}


def _qwen(pipe: Any, text: str, _negative: bool, device: str, _length: int) -> Embeddings:
    found, _ = pipe.encode_prompt([text], device=device)
    return {"prompt_embeds": found, "prompt_embeds_mask": torch.ones_like(found[..., 0], dtype=torch.long)}


def _sd(pipe: Any, text: str, _negative: bool, device: str, _length: int) -> Embeddings:
    found, _ = pipe.encode_prompt([text], device, 1, False)
    return {"prompt_embeds": found}


def _sdxl(pipe: Any, text: str, negative: bool, device: str, _length: int) -> Embeddings:
    found, _, pooled, _ = pipe.encode_prompt([text], device=device, do_classifier_free_guidance=False)
    if negative and not text and pipe.config.force_zeros_for_empty_prompt:
        found, pooled = torch.zeros_like(found), torch.zeros_like(pooled)
    return {"prompt_embeds": found, "pooled_prompt_embeds": pooled}


#: By pipeline class; `common.catalog.check.PIPELINES` lists them for those who have no torch.
TEXTS = {
    "ZImagePipeline": TextFamily(encode=_z_image, join=list, written=_in_chat),
    "FluxPipeline": TextFamily(encode=_flux1, join=torch.cat, keeps_padding=True),
    "Flux2KleinPipeline": TextFamily(encode=_klein, join=torch.cat, written=_in_chat, keeps_padding=True),
    "QwenImagePipeline": TextFamily(
        encode=_qwen, join=_padded, written=_in_template, guidance="true_cfg_scale"
    ),
    "StableDiffusionPipeline": TextFamily(encode=_sd, join=torch.cat),
    "StableDiffusionXLPipeline": TextFamily(encode=_sdxl, join=torch.cat),
}
