"""Names of shot fields in other programs, for columns of tables and fields of axis values."""

from __future__ import annotations

import re
from functools import lru_cache

from common.wording import shortened

#: Our name to the names in A1111, InvokeAI, SwarmUI, kohya's scripts and diffusers. They are compared as
#: `spelled`, so case, spaces, `_` and `-` do not matter.
_THEIRS = {
    "prompt": ("positiveprompt", "positive_prompt"),
    "negative": ("negative prompt", "neg prompt", "negativeprompts", "uncond prompt"),
    "loras": ("lora", "loras"),
    "size": ("image size",),
    "width": ("width", "image width"),
    "height": ("height", "image height"),
    "steps": ("sampling steps", "num inference steps", "inference steps", "num steps", "sample steps"),
    "guidance": ("cfg", "cfg scale", "guidance scale", "unconditional guidance scale"),
    "sampler": ("sampler name", "scheduler", "sampling method", "sampler index"),
    "seed": ("noise seed",),
    "model": ("checkpoint", "checkpoint name", "ckpt name", "sd model checkpoint", "sd model name"),
}

#: Fields that together set the size.
SIDES = ("width", "height")

#: Settings of other programs that the farm does not have, and what to do instead.
WITHOUT = {
    **dict.fromkeys(
        (
            *("vae", "sdvae", "tiling", "hiresfix", "enablehr", "hrscale", "hrupscaler"),
            *("hiresupscale", "hiressteps", "hiresupscaler", "hrsecondpasssteps", "refiner"),
            *("restorefaces", "facerestoration", "eta", "ensd", "subseed", "subseedstrength", "schedule"),
            *("variationseed", "variationseedstrength", "modelhash", "scheduletype", "rng", "version"),
        ),
        "the farm does not have this setting",
    ),
    **dict.fromkeys(
        ("denoisingstrength", "denoise", "initimage", "inputimage", "maskimage", "controlnet"),
        "the farm supports only text-to-image",
    ),
    **dict.fromkeys(
        ("batchsize", "batchcount", "niter", "numimages", "numimagesperprompt", "imagecount", "images"),
        "`seeds` of the group sets the number of images",
    ),
    **dict.fromkeys(("aspect", "aspectratio", "ar"), "write a column `size` such as `1344x768`"),
    "seeds": "write a column `seed` to give each row a seed",
    "upscaler": "write a column `upscale` with names of upscalers of the catalog",
    "variants": "write `variants:` next to `axes`",
}


def spelled(key: str) -> str:
    """Returns a key without the differences between programs: `Negative prompt`, `negative_prompt`."""
    return re.sub(r"[\s_-]+", "", key).lower()


_OURS = {spelled(name): ours for ours, names in _THEIRS.items() for name in (ours, *names)}
_OURS |= {"shift": "shift", "blindsteps": "blind_steps", "clipskip": "clip_skip", "preset": "preset"}
_OURS |= {"upscale": "upscale"}


def theirs(field: str) -> tuple[str, ...]:
    """Returns the names of a field as `spelled`: our own and those of other programs."""
    return tuple(dict.fromkeys(spelled(name) for name in (field, *_THEIRS[field])))


@lru_cache(maxsize=65_536)
def field_of(key: str) -> str | None:
    """Returns the shot field that a column sets, or None; `width` and `height` together set `size`."""
    return _OURS.get(spelled(key))


def column_remedy(column: str) -> str:
    """Says how a column that sets a field can become plain text; empty if the column sets none."""
    field = field_of(column)
    if field is None:
        return ""
    key = column if re.fullmatch(r"[^\W\d][\w-]*", column) else f'"{column}"'
    sets = f"the column `{shortened(column)}` sets the image's `{'size' if field in SIDES else field}`"
    return f"; {sets}: rename it, or add `columns: {{{key}: null}}` next to `file`"


@lru_cache(maxsize=65_536)
def without(key: str) -> str | None:
    """Returns the advice for a setting of other programs that the farm does not have, or None."""
    return WITHOUT.get(spelled(key))
