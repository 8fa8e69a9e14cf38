"""What the metadata of a safetensors file says for people: licence, trigger words, base model, title.

Keys `modelspec.*` are those of Stability AI's model specification, `ss_*` those of kohya's trainer.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from common.wording import shortened


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """Empty texts are not stated."""

    title: str = ""
    #: As written, such as `CreativeML Open RAIL++-M`.
    license: str = ""
    triggers: tuple[str, ...] = ()
    #: Whether the trigger is only the most frequent tag of the training pictures.
    trigger_is_a_guess: bool = False
    #: Name of the model that it was trained on.
    base: str = ""


def described(metadata: Mapping[str, str]) -> Described:
    said = shortened(metadata.get("modelspec.trigger_phrase", "").strip(), 200)
    tag = "" if said else _most_frequent_tag(metadata.get("ss_tag_frequency", ""))
    base = metadata.get("ss_base_model_version") or metadata.get("modelspec.architecture", "")
    return Described(
        title=shortened(metadata.get("modelspec.title") or metadata.get("ss_output_name", "")),
        license=shortened(metadata.get("modelspec.license", "")),
        triggers=tuple(word for word in re.split(r"\s*,\s*", said or tag) if word),
        trigger_is_a_guess=bool(tag),
        base=shortened(base),
    )


def _most_frequent_tag(said: str) -> str:
    """The tag that stands beside most pictures of all training folders; empty if none is given."""
    try:
        folders = json.loads(said) if said else {}
    except (ValueError, RecursionError):
        return ""
    counts: Counter[str] = Counter()
    for tags in folders.values() if isinstance(folders, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if type(count) is int and count > 0 and tag.strip():
                counts[" ".join(tag.split())] += count
    return shortened(counts.most_common(1)[0][0]) if counts else ""
