"""Samplers: what a step of each costs, and what other programs call them."""

from __future__ import annotations

import re

#: Runs of the denoiser that a step takes; one where nothing is said. Heun's method corrects each step with a
#: second run (Karras et al. 2022, algorithm 1); that its last step has only one is not counted.
_FORWARDS = {"heun": 2}

#: Names in A1111, ComfyUI, InvokeAI and diffusers, as `_bare`, to the sampler that draws the same.
_SAME = {
    **dict.fromkeys(("euler", "eulerdiscretescheduler", "flowmatcheulerdiscretescheduler"), "euler"),
    **dict.fromkeys(("eulera", "eulerancestral", "eulerancestraldiscretescheduler"), "euler_a"),
    **dict.fromkeys(("heun", "heundiscretescheduler"), "heun"),
    **dict.fromkeys(("ddim", "ddimuniform", "ddimscheduler"), "ddim"),
    **dict.fromkeys(("dpmpp2m", "dpmsolverpp", "dpmsolvermultistepscheduler"), "dpmpp_2m"),
    **dict.fromkeys(("dpmpp2mkarras", "dpmpp2mk"), "dpmpp_2m_karras"),
    **dict.fromkeys(("unipc", "unipcbh2", "unipcmultistepscheduler"), "unipc"),
}

#: Names, as `_bare`, to samplers that resemble what they mean, the nearest first.
_AKIN = {
    **dict.fromkeys(("eulera", "eulerancestral", "eulercfgpp", "lms"), ("euler",)),
    **dict.fromkeys(("eulerancestralcfgpp",), ("euler_a", "euler")),
    **dict.fromkeys(("heunpp2", "dpm2"), ("heun", "euler")),
    **dict.fromkeys(("dpm2a", "dpm2ancestral"), ("euler_a", "euler")),
    **dict.fromkeys(("plms", "pndm", "ddimcfgpp"), ("ddim",)),
    **dict.fromkeys(("dpmsolver", "dpmpp2msde", "dpmpp2msdegpu", "dpmpp3msde"), ("dpmpp_2m",)),
    **dict.fromkeys(("dpmpp3msdegpu", "dpmppsde", "dpmppsdegpu"), ("dpmpp_2m",)),
    **dict.fromkeys(("dpmpp2sa", "dpmpp2sancestral"), ("dpmpp_2m",)),
}
#: Schedules that a name may end with and that the farm does not have: `DPM++ 2M SDE Exponential`.
_SCHEDULES = re.compile(r"(?:polyexponential|exponential|sgmuniform|uniform|simple|automatic|beta|normal)$")


def forwards_of(sampler: str) -> int:
    """Runs of the denoiser, one after the other, for one step."""
    return _FORWARDS.get(sampler, 1)


def sampler_of(theirs: str) -> str | None:
    """The sampler that draws the same as what another program calls `theirs`; None where none does."""
    return _SAME.get(_bare(theirs))


def samplers_akin(theirs: str) -> tuple[str, ...]:
    """Samplers that draw the same as what another program calls `theirs` or resemble it, the nearest first.

    >>> samplers_akin("DPM++ 2M SDE Karras")
    ('dpmpp_2m_karras', 'dpmpp_2m')
    """
    bare = _bare(theirs)
    plain = _SCHEDULES.sub("", bare)
    # InvokeAI's `heun_k` is heun with the schedule of Karras.
    unscheduled = re.sub(r"(?:karras|k)$", "", plain)
    found = [_SAME.get(plain), *_AKIN.get(plain, ()), _SAME.get(unscheduled), *_AKIN.get(unscheduled, ())]
    if unscheduled != plain:
        found = [*(f"{name}_karras" for name in found if f"{name}_karras" in _SAME.values()), *found]
    return tuple(dict.fromkeys(name for name in found if name))


def _bare(name: str) -> str:
    """The letters and digits: `dpmpp2m` for `DPM++ 2M`; `k_euler` is Katherine Crowson's `euler`."""
    bare = re.sub(r"[^a-z0-9]", "", name.lower().replace("++", "pp"))
    unprefixed = bare.removeprefix("k")
    return unprefixed if unprefixed in _SAME | _AKIN else bare
