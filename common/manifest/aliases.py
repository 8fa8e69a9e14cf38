"""What other programs call the fields of a shot, in the columns of tables and the fields of axis values."""

from __future__ import annotations

import re
from functools import lru_cache

from common.wording import shortened

#: Ours to theirs, as `spelled`; upper and lower case, blanks, `_` and `-` do not matter.
#: A1111, InvokeAI, SwarmUI, kohya's scripts and diffusers write them so.
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

#: Fields that set the size together.
SIDES = ("width", "height")

#: Settings of other programs that the farm does not have, and what to do.
WITHOUT = {
    **dict.fromkeys(
        (
            *("clipskip", "vae", "sdvae", "tiling", "hiresfix", "enablehr", "hrscale", "hrupscaler"),
            *("hiresupscale", "hiressteps", "hiresupscaler", "hrsecondpasssteps", "upscaler", "refiner"),
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
        "`seeds` of the group says how many",
    ),
    **dict.fromkeys(("aspect", "aspectratio", "ar"), "write a column `size` such as `1344x768`"),
    "seeds": "write a column `seed` for a seed of each row",
    "variants": "write `variants:` beside `axes`",
}


def spelled(key: str) -> str:
    """A key without the ways that programs differ in: `Negative prompt`, `negative_prompt`."""
    return re.sub(r"[\s_-]+", "", key).lower()


_OURS = {spelled(name): ours for ours, names in _THEIRS.items() for name in (ours, *names)}
_OURS |= {"shift": "shift", "blindsteps": "blind_steps", "preset": "preset"}


def theirs(field: str) -> tuple[str, ...]:
    """What other programs call a field, as `spelled`, our own name among them."""
    return tuple(dict.fromkeys(spelled(name) for name in (field, *_THEIRS[field])))


@lru_cache(maxsize=65_536)
def field_of(key: str) -> str | None:
    """The shot field that a column or field of this name sets; `width` and `height` together are `size`."""
    return _OURS.get(spelled(key))


def column_remedy(column: str) -> str:
    """How a column that sets a field becomes plain text; empty for one that sets none."""
    field = field_of(column)
    if field is None:
        return ""
    key = column if re.fullmatch(r"[^\W\d][\w-]*", column) else f'"{column}"'
    sets = f"the column `{shortened(column)}` sets the picture's `{'size' if field in SIDES else field}`"
    return f"; {sets}: rename it, or add `columns: {{{key}: null}}` beside `file`"


@lru_cache(maxsize=65_536)
def without(key: str) -> str | None:
    """What is said of a setting of other programs that the farm does not have."""
    return WITHOUT.get(spelled(key))
