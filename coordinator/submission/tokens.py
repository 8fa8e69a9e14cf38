"""How much of its prompts a model reads, as nodes count it, where the model's files are on this machine."""

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from common.catalog import Catalog, Family
from common.model_files import find_files
from common.prompt_chunks import CHUNK, COMMA, MIN_TOKENS, count_tokens, prompt_chunks
from common.shot import Shot
from common.textual_inversions import MARK, vector_ids, with_vectors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger(__name__)

#: Texts whose tokens are remembered; shots that follow each other mostly share theirs.
_COUNTS_KEPT = 4096
#: What CLIP takes as words, https://github.com/openai/CLIP/blob/main/clip/simple_tokenizer.py.
_CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_CLIP_BEGIN, _CLIP_END = "<|startoftext|>", "<|endoftext|>"


class ModelTokenizer:
    """Counts the tokens of one model."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        special: Sequence[str],
        around: Callable[[str], str] | None,
        *,
        chunked: bool = False,
        vectors: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """`special` are the model's own tokens; `around` writes a text as the model reads it.

        `chunked`: the model reads prompts in chunks, see `common.prompt_chunks`. `vectors` are the tokens of
        each textual inversion.
        """
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._special = special
        self._write = around
        self._chunked = chunked
        self._vector_ids = vector_ids(vectors)
        #: Most tokens that a prompt has beside its own text; T5 begins it with a space.
        self._around = len(self._written("").encode()) + tokenizer.num_special_tokens_to_add(False) + 1
        self.count = lru_cache(_COUNTS_KEPT)(self._count)

    def room(self, limit: int) -> int:
        """So many ASCII characters surely have no more than `limit` tokens, of which each is a byte at least.

        That is without `BREAK` and textual inversions.
        """
        return (limit * MIN_TOKENS // CHUNK if self._chunked else limit) - self._around

    def exceeds(self, text: str, limit: int) -> bool:
        """Whether it has more tokens than `limit`; a text is only taken apart if it might."""
        size = len(text)
        if not text.isascii():
            # Small letters may take half as many bytes more: the model may read Ⱥ as ⱥ, and T5 ㏘ as p.m.
            forms = (unicodedata.normalize(form, text) for form in ("NFC", "NFKC"))
            size = max(len(form.encode(errors="replace")) for form in forms) * 3 // 2
        return (size > self.room(limit) or _is_longer(text)) and self.count(text) > limit

    def _count(self, text: str) -> int:
        written = self._written(text)
        if self._chunked:
            ids_of = with_vectors(self._ids, self._vector_ids)
            return count_tokens(prompt_chunks(written, ids_of, self._tokenizer.token_to_id(COMMA)))
        return len(self._tokenizer.encode(written).ids)

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _written(self, text: str) -> str:
        for token in self._special:
            text = text.replace(token, "")
        return self._write(text) if self._write else text


def _is_longer(text: str) -> bool:
    """Whether it may have more tokens than bytes."""
    return "BREAK" in text or MARK in text


class Reader:
    """What one model reads of its prompts."""

    def __init__(self, tokenizer: ModelTokenizer, family: Family) -> None:
        self.tokenizer = tokenizer
        #: Tokens.
        self.limit = family.max_tokens
        self._guided_above = family.guidance_doubles_above
        self._room = tokenizer.room(family.max_tokens)

    def count(self, text: str) -> int:
        """Its tokens, with all that the model reads around it."""
        return self.tokenizer.count(text)

    def prompt_too_long(self, shot: Shot) -> bool:
        prompt = shot.prompt
        if len(prompt) <= self._room and prompt.isascii() and not _is_longer(prompt):
            return False
        return self.tokenizer.exceeds(prompt, self.limit)

    def negative_too_long(self, shot: Shot) -> bool:
        """A negative prompt without guidance is not read at all."""
        above = self._guided_above
        return (
            bool(shot.negative)
            and above is not None
            and shot.guidance > above
            and self.tokenizer.exceeds(shot.negative, self.limit)
        )


@dataclass(frozen=True, slots=True)
class Tokenizers:
    """The tokenizers of a catalog's models that are in `folders` or come with the farm, each read once."""

    catalog: Catalog
    folders: Sequence[Path] = ()
    _readers: dict[str, Reader | None] = field(default_factory=dict)

    def reader(self, model: str) -> Reader | None:
        """None where the model's tokenizer is not on this machine, or is of a kind unknown here."""
        if model not in self._readers:
            known = self.catalog.models.get(model)
            folder = find_files(Path(known.path) / known.family.tokenizer, self.folders) if known else None
            tokenizer = (
                _tokenizer(folder, known.family, self._vectors(known.family)) if known and folder else None
            )
            self._readers[model] = Reader(tokenizer, known.family) if known and tokenizer else None
        return self._readers[model]

    def _vectors(self, family: Family) -> dict[str, int]:
        known = self.catalog.textual_inversions.values()
        return {each.name: each.vectors for each in known if each.family == family.name}

    def forget(self) -> None:
        """Look again for the tokenizers: the catalog has changed."""
        self._readers.clear()

    def whole(self, shot: Shot) -> bool:
        """Whether the model is known to read all of the shot's prompts."""
        reader = self.reader(shot.model)
        return reader is not None and not (reader.prompt_too_long(shot) or reader.negative_too_long(shot))


def _tokenizer(folder: Path, family: Family, vectors: Mapping[str, int]) -> ModelTokenizer | None:
    """A template of the family is used instead of that of a chat."""
    try:
        written = _json(folder / "tokenizer_config.json")
        whole, jinja = folder / "tokenizer.json", folder / "chat_template.jinja"
        chat = jinja.read_text("utf-8") if jinja.exists() else written.get("chat_template")
        named = _named(written)
        found = _whole(whole) if whole.exists() else _clip(folder, written)
        if found is None:
            return None
        own = [str(token) for token in found.get_added_tokens_decoder().values() if token.special]
        # What does not begin with `<` is a word like others, and nodes leave it in.
        special = [token for token in dict.fromkeys([*own, *named.values()]) if token.startswith("<")]
        if family.template:
            return ModelTokenizer(found, special, lambda text: family.template.replace("{}", text))
        around = _chat(chat, named) if isinstance(chat, str) else None
        return ModelTokenizer(found, special, around, chunked=family.reads_emphasis, vectors=vectors)
    except Exception as error:
        # The library raises bare exceptions. Nodes count for themselves: all that is lost is an early word.
        log.warning("%s cannot be read, so prompts are not counted by it: %s", folder, error)
        return None


def _whole(file: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(file))


def _clip(folder: Path, written: dict[str, Any]) -> Tokenizer | None:
    """A CLIP tokenizer from its two files, as most Stable Diffusion models come; None for another."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    if not str(written.get("tokenizer_class", "")).startswith("CLIPTokenizer"):
        return None
    files = str(folder / "vocab.json"), str(folder / "merges.txt")
    unknown = _named(written).get("unk_token", _CLIP_END)
    found = Tokenizer(models.BPE.from_file(*files, unk_token=unknown, end_of_word_suffix="</w>"))
    found.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True)
    found.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    found.add_special_tokens([AddedToken(token, special=True) for token in (_CLIP_BEGIN, _CLIP_END)])
    begin, end = found.token_to_id(_CLIP_BEGIN) or 0, found.token_to_id(_CLIP_END) or 0
    found.post_processor = processors.RobertaProcessing((_CLIP_END, end), (_CLIP_BEGIN, begin))
    return found


def _chat(template: str, named: dict[str, str]) -> Callable[[str], str]:
    """A text as the only turn of a chat, written by the model's own template, as transformers does."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    jinja = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    jinja.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    made = jinja.from_string(template)

    def written(text: str) -> str:
        turn = [{"role": "user", "content": text}]
        return made.render(messages=turn, add_generation_prompt=True, enable_thinking=True, **named)

    return written


def _named(written: dict[str, Any]) -> dict[str, str]:
    """Special tokens by the names that the tokenizer's settings give them."""
    tokens = {name: value for name, value in written.items() if name.endswith("_token")}
    contents = {
        name: value.get("content") if isinstance(value, dict) else value for name, value in tokens.items()
    }
    return {name: value for name, value in contents.items() if isinstance(value, str)}


def _json(file: Path) -> dict[str, Any]:
    found = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return found if isinstance(found, dict) else {}
