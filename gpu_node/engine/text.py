"""Text becomes embeddings once per distinct prompt; each family has its own way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from common.embeddings import EmbeddedText, negative_of, prompt_of
from common.prompt_chunks import count_tokens
from common.shot import Shot
from gpu_node.engine.clip_text import clip_chunks, encode_sd15, encode_sdxl, repeated
from gpu_node.engine.embedding_file import Embeddings, Shapes, Unfit, read_embeddings, write_embeddings
from gpu_node.engine.inversions import NO_INVERSIONS, Inversions, load_inversions
from gpu_node.engine.placement import DevicePlacement, denoiser_of
from gpu_node.errors import RenderError
from gpu_node.protocol import Encode, Encoded, EngineText, Load

#: Where the padding is stripped again, a text is padded to a multiple of so many tokens.
_PAD_TOKENS = 64


class Texts:
    """The texts of a batch, embedded for one pipeline."""

    def __init__(self, pipe: Any, load: Load, placement: DevicePlacement) -> None:
        if load.pipeline not in TEXTS:
            raise RenderError("load_error", f"this node cannot encode text for {load.pipeline}")
        self._pipe = pipe
        self._family = TEXTS[load.pipeline]
        self._load = load
        self._placement = placement
        #: A text that cannot be encoded is the reason why.
        self._known: dict[EmbeddedText, Embeddings | RenderError] = {}
        #: Files of textual inversions by name and identity.
        self._inversions: dict[tuple[str, str], Path] = {}

    def forget(self) -> None:
        self._known = {}

    def encode(self, command: Encode, on_text: Callable[[], None]) -> Encoded:
        """Know the texts of the command and forget all others.

        Those that are known or in files are not encoded, so that no text encoder is needed if all are.
        `on_text` is called after each.
        """
        wanted = {_embedded(one): one.file for one in command.texts}
        self._inversions = {(use.name, use.identity): use.file for use in command.inversions}
        self._known = {text: self._known[text] for text in wanted if text in self._known}
        unfit: dict[Path, str] = {}
        for text, file in wanted.items():
            if text not in self._known and file is not None and file.exists():
                try:
                    self._known[text] = self._placed(read_embeddings(file, self._shapes))
                    on_text()
                except Unfit as error:
                    unfit[file] = str(error)
        missing = {text: file for text, file in wanted.items() if text not in self._known}
        if not missing and not command.ahead:
            self._placement.settle()
            return Encoded(unfit=unfit)
        with self._placement.encoding() as load_s, torch.no_grad():
            for text, file in missing.items():
                self._known[text] = self._encode(text, file)
                on_text()
            ahead_s = self._encode_ahead(command, on_text)
        return Encoded(encoded=len(missing), load_s=load_s, ahead_s=ahead_s, unfit=unfit)

    def _encode_ahead(self, command: Encode, on_text: Callable[[], None]) -> float:
        """Write the embeddings of texts that nothing here needs; the seconds that it took."""
        start = time.monotonic()
        for one in command.ahead:
            if time.monotonic() - start >= command.ahead_s:
                break
            self._encode(_embedded(one), one.file)
            on_text()
        return time.monotonic() - start

    def arguments(self, shots: Sequence[Shot]) -> dict[str, Any]:
        """Texts and guidance as arguments of a pipeline call, for a pass whose shots share their guidance.

        Raises the RenderError of a text that could not be encoded.
        """
        family, count = self._family, len(shots)
        texts = [prompt_of(shot) for shot in shots]
        above = self._load.guided_above
        if above is not None and shots[0].guidance > above:
            texts += [negative_of(shot) for shot in shots]
        given = [self._embeddings(text) for text in texts]
        found: dict[str, Any] = {family.guidance: shots[0].guidance}
        for name in given[0]:
            levelled = family.level([one[name] for one in given])
            found[name] = family.join(levelled[:count])
            if levelled[count:]:
                found[f"negative_{name}"] = family.join(levelled[count:])
        return found

    def blind(self, shots: Sequence[Shot]) -> Any:
        """Embeddings of the empty prompt for each shot, where the family can change its text while denoising.

        Raises RenderError `invalid_spec` where it cannot.
        """
        if "prompt_embeds" not in self._pipe._callback_tensor_inputs:
            raise RenderError("invalid_spec", "this model does not support blind_steps")
        empty = self._embeddings(EmbeddedText(""))["prompt_embeds"]
        return self._family.join([empty] * len(shots))

    @property
    def _shapes(self) -> Shapes:
        return self._family.shapes(denoiser_of(self._pipe).config)

    def _embeddings(self, text: EmbeddedText) -> Embeddings:
        found = self._known[text]
        if isinstance(found, RenderError):
            raise found
        return found

    def _encode(self, text: EmbeddedText, file: Path | None) -> Embeddings | RenderError:
        """The embeddings of a text, which are written to `file` as the encoder gives them."""
        tokenizer = getattr(self._pipe, self._load.tokenizer)
        plain = text._replace(text=_without_special_tokens(tokenizer, text.text))
        try:
            more = self._named(text)
        except RenderError as error:
            if error.kind != "inversion_rejected":
                raise
            return error
        tokens = self._family.count(tokenizer, self._family.written(self._pipe, plain.text), **more)
        longest = self._load.max_tokens
        if tokens > longest:
            which = "negative prompt" if text.negative else "prompt"
            message = f"the {which} has {tokens} tokens, the model reads {longest}; shorten it"
            return RenderError("prompt_too_long", message)
        short = min(longest, -(-tokens // _PAD_TOKENS) * _PAD_TOKENS)
        length = longest if self._family.keeps_padding else short
        found = self._family.encode(self._pipe, plain, self._placement.text_device, length, **more)
        if file is not None:
            with suppress(OSError):  # then it is not shared
                write_embeddings(file, found)
        return self._placed(found)

    def _named(self, text: EmbeddedText) -> dict[str, Inversions]:
        """The textual inversions of a text as an argument, for families that read some."""
        if not text.inversions:
            return {}
        encoders = (getattr(self._pipe, name, None) for name in ("text_encoder", "text_encoder_2"))
        files = {use: self._inversions[use] for use in text.inversions}
        return {"inversions": load_inversions(files, [each for each in encoders if each is not None])}

    def _placed(self, embeddings: Embeddings) -> Embeddings:
        """Where and as the denoiser takes them."""
        dtype = getattr(torch, self._load.compute_dtype)
        return {
            name: tensor.to(self._placement.device, dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in embeddings.items()
        }


def _tokens(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text).input_ids)


def _clip_tokens(tokenizer: Any, text: str, inversions: Inversions = NO_INVERSIONS) -> int:
    return count_tokens(clip_chunks(tokenizer, text, inversions))


@dataclass(frozen=True, kw_only=True)
class TextFamily:
    """How one pipeline class takes its text."""

    #: (pipe, text, device, padded length) to embeddings by argument name; `inversions` if the text has any.
    encode: Callable[..., Embeddings]
    #: (config of the denoiser) to the shapes of the embeddings of one text.
    shapes: Callable[[Any], Shapes]
    #: Embeddings of several texts as one argument.
    join: Callable[[list[Any]], Any]
    #: (pipe, text) to the text as the encoder reads it, template included.
    written: Callable[[Any, str], str] = lambda _pipe, text: text
    #: (tokenizer, written text) to its length in tokens; `inversions` as above.
    count: Callable[..., int] = _tokens
    #: Embeddings of all texts of a pass, prompts and negatives, to those that fit beside each other.
    level: Callable[[list[Any]], list[Any]] = list
    #: Whether padding enters the picture: a text is always padded to the longest that the model reads.
    keeps_padding: bool = False
    #: Argument of the pipeline that takes a shot's guidance.
    guidance: str = "guidance_scale"


def _embedded(told: EngineText) -> EmbeddedText:
    return EmbeddedText(told.text, told.negative, told.clip_skip, told.inversions)


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


def _z_image(pipe: Any, text: EmbeddedText, device: str, length: int) -> Embeddings:
    found, _ = pipe.encode_prompt(
        [text.text], device=device, do_classifier_free_guidance=False, max_sequence_length=length
    )
    return {"prompt_embeds": found[0]}


def _klein(pipe: Any, text: EmbeddedText, device: str, length: int) -> Embeddings:
    found, _ = pipe.encode_prompt([text.text], device=device, max_sequence_length=length)
    return {"prompt_embeds": found}


def _flux1(pipe: Any, text: EmbeddedText, device: str, length: int) -> Embeddings:
    # CLIP reads the beginning, T5 everything.
    first = _without_special_tokens(pipe.tokenizer, text.text)
    found, pooled, _ = pipe.encode_prompt([first], [text.text], device=device, max_sequence_length=length)
    return {"prompt_embeds": found, "pooled_prompt_embeds": pooled}


def _chroma(pipe: Any, text: EmbeddedText, device: str, length: int) -> Embeddings:
    found, _, mask, *_ = pipe.encode_prompt(
        [text.text], device=device, do_classifier_free_guidance=False, max_sequence_length=length
    )
    return {"prompt_embeds": found, "prompt_attention_mask": mask}


def _qwen(pipe: Any, text: EmbeddedText, device: str, _length: int) -> Embeddings:
    found, _ = pipe.encode_prompt([text.text], device=device)
    return {"prompt_embeds": found, "prompt_embeds_mask": torch.ones_like(found[..., 0], dtype=torch.long)}


def _sd15(
    pipe: Any, text: EmbeddedText, device: str, _length: int, inversions: Inversions = NO_INVERSIONS
) -> Embeddings:
    return {"prompt_embeds": encode_sd15(pipe, text.text, device, text.clip_skip, inversions)}


def _sdxl(
    pipe: Any, text: EmbeddedText, device: str, _length: int, inversions: Inversions = NO_INVERSIONS
) -> Embeddings:
    found, pooled = encode_sdxl(pipe, text.text, device, text.clip_skip, inversions)
    if text.negative and not text.text and pipe.config.force_zeros_for_empty_prompt:
        found, pooled = torch.zeros_like(found), torch.zeros_like(pooled)
    return {"prompt_embeds": found, "pooled_prompt_embeds": pooled}


def _attended(config: Any) -> Shapes:
    return {"prompt_embeds": (1, None, config.joint_attention_dim)}


def _sdxl_shapes(config: Any) -> Shapes:
    # The rest are six numbers of sizes.
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    return {
        "prompt_embeds": (1, None, config.cross_attention_dim),
        "pooled_prompt_embeds": (1, pooled),
    }


#: By pipeline class; `common.catalog.check.PIPELINES` lists them for those who have no torch.
TEXTS = {
    "ChromaPipeline": TextFamily(
        encode=_chroma,
        shapes=lambda config: {**_attended(config), "prompt_attention_mask": (1, None)},
        join=torch.cat,
        keeps_padding=True,
    ),
    "ZImagePipeline": TextFamily(
        encode=_z_image,
        shapes=lambda config: {"prompt_embeds": (None, config.cap_feat_dim)},
        join=list,
        written=_in_chat,
    ),
    "FluxPipeline": TextFamily(
        encode=_flux1,
        shapes=lambda config: {
            **_attended(config),
            "pooled_prompt_embeds": (1, config.pooled_projection_dim),
        },
        join=torch.cat,
        keeps_padding=True,
    ),
    "Flux2KleinPipeline": TextFamily(
        encode=_klein, shapes=_attended, join=torch.cat, written=_in_chat, keeps_padding=True
    ),
    "QwenImagePipeline": TextFamily(
        encode=_qwen,
        shapes=lambda config: {**_attended(config), "prompt_embeds_mask": (1, None)},
        join=_padded,
        written=_in_template,
        guidance="true_cfg_scale",
    ),
    "StableDiffusionPipeline": TextFamily(
        encode=_sd15,
        shapes=lambda config: {"prompt_embeds": (1, None, config.cross_attention_dim)},
        join=torch.cat,
        count=_clip_tokens,
        level=repeated,
    ),
    "StableDiffusionXLPipeline": TextFamily(
        encode=_sdxl, shapes=_sdxl_shapes, join=torch.cat, count=_clip_tokens, level=repeated
    ),
}
