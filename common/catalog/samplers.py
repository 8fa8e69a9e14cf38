"""Samplers: what a step of each costs, and what other programs call them.

A name is that of a method, and behind a `_` the noise schedule if it is not the model's own:
`dpmpp_2m_karras`.
"""

from __future__ import annotations

import re

#: Noise schedules that names end with: Karras et al. 2022 (equation 5), Lee et al. 2024 (arXiv 2407.12173).
SCHEDULES = ("karras", "beta")
#: Runs of the denoiser that a step takes; one where nothing is said. Heun's method corrects each step with a
#: second run (Karras et al. 2022, algorithm 1), DPM++ SDE runs at its middle too; that their last steps have
#: only one is not counted.
_FORWARDS = {"heun": 2, "dpmpp_sde": 2}
#: Most steps of a method: models for LCM were distilled from so many.
_MOST_STEPS = {"lcm": 50}

#: Names in A1111, ComfyUI, InvokeAI and diffusers, as `_bare`, to the method that draws the same.
_SAME = {
    **dict.fromkeys(("euler", "eulerdiscretescheduler", "flowmatcheulerdiscretescheduler"), "euler"),
    **dict.fromkeys(("eulera", "eulerancestral", "eulerancestraldiscretescheduler"), "euler_a"),
    **dict.fromkeys(("heun", "heundiscretescheduler", "flowmatchheundiscretescheduler"), "heun"),
    **dict.fromkeys(("ddim", "ddimuniform", "ddimscheduler"), "ddim"),
    **dict.fromkeys(("dpmpp2m", "dpmsolverpp", "dpmsolvermultistepscheduler"), "dpmpp_2m"),
    **dict.fromkeys(("dpmppsde", "dpmppsdegpu", "dpmsolversdescheduler"), "dpmpp_sde"),
    **dict.fromkeys(("unipc", "unipcbh2", "unipcmultistepscheduler"), "unipc"),
    **dict.fromkeys(("lcm", "lcmscheduler", "flowmatchlcmscheduler"), "lcm"),
    **dict.fromkeys(("resmultistep",), "res_multistep"),
}

#: Names, as `_bare`, to methods that resemble what they mean, the nearest first.
_AKIN = {
    **dict.fromkeys(("eulera", "eulerancestral", "eulercfgpp", "lms"), ("euler",)),
    **dict.fromkeys(("eulerancestralcfgpp",), ("euler_a", "euler")),
    **dict.fromkeys(("heunpp2", "dpm2"), ("heun", "euler")),
    **dict.fromkeys(("dpm2a", "dpm2ancestral"), ("euler_a", "euler")),
    **dict.fromkeys(("plms", "pndm", "ddimcfgpp"), ("ddim",)),
    **dict.fromkeys(("dpmsolver", "dpmpp2msde", "dpmpp2msdegpu", "dpmpp3msde"), ("dpmpp_2m",)),
    **dict.fromkeys(("dpmpp3msdegpu",), ("dpmpp_2m",)),
    **dict.fromkeys(("dpmpp2sa", "dpmpp2sancestral"), ("dpmpp_sde", "dpmpp_2m")),
    **dict.fromkeys(("resmultistep", "deis", "ipndm"), ("dpmpp_2m",)),
    **dict.fromkeys(("resmultistepcfgpp", "resmultistepancestral"), ("res_multistep", "dpmpp_2m")),
    # To follow a flow step by step is what DDIM does.
    **dict.fromkeys(("ddim", "ddimuniform", "ddimscheduler"), ("euler",)),
}
#: Methods that have the schedules, too: those whose diffusers scheduler computes them.
SCHEDULED = ("dpmpp_2m", "dpmpp_sde", "euler", "heun", "res_multistep", "unipc")
#: Schedules that a name may end with and that the farm does not have: `DPM++ 2M SDE Exponential`.
_OTHER_SCHEDULES = re.compile(r"(?:polyexponential|exponential|sgmuniform|uniform|simple|automatic|normal)$")


def method_and_schedule(sampler: str) -> tuple[str, str]:
    """Returns the parts of a name; the schedule is empty for the model's own.

    >>> method_and_schedule("dpmpp_2m_karras"), method_and_schedule("euler_a")
    (('dpmpp_2m', 'karras'), ('euler_a', ''))
    """
    method, _, schedule = sampler.rpartition("_")
    return (method, schedule) if schedule in SCHEDULES else (sampler, "")


def forwards_of(sampler: str) -> int:
    """Runs of the denoiser, one after the other, for one step."""
    return _FORWARDS.get(method_and_schedule(sampler)[0], 1)


def most_steps(sampler: str) -> int | None:
    """The most steps that the sampler can take; None if any number."""
    return _MOST_STEPS.get(method_and_schedule(sampler)[0])


def sampler_of(theirs: str) -> str | None:
    """The sampler that draws the same as what another program calls `theirs`; None where none does."""
    bare, schedule = _parted(_bare(theirs))
    method = _SAME.get(bare)
    return _scheduled(method, schedule) if method else None


def samplers_akin(theirs: str) -> tuple[str, ...]:
    """Samplers that draw the same as what another program calls `theirs` or resemble it, the nearest first.

    >>> samplers_akin("DPM++ 2M SDE Karras")
    ('dpmpp_2m_karras', 'dpmpp_2m')
    """
    bare, schedule = _parted(_OTHER_SCHEDULES.sub("", _bare(theirs)))
    methods = [method for method in (_SAME.get(bare), *_AKIN.get(bare, ())) if method]
    found = [each for method in methods for each in (_scheduled(method, schedule), method) if each]
    return tuple(dict.fromkeys(found))


def _scheduled(method: str, schedule: str) -> str | None:
    if not schedule:
        return method
    return f"{method}_{schedule}" if method in SCHEDULED else None


def _parted(bare: str) -> tuple[str, str]:
    """The name without its schedule, and the schedule; InvokeAI's `heun_k` is heun with that of Karras."""
    for ending, schedule in (("karras", "karras"), ("beta", "beta"), ("k", "karras")):
        name = bare.removesuffix(ending)
        if name != bare and name in _SAME | _AKIN:
            return name, schedule
    return bare, ""


def _bare(name: str) -> str:
    """The letters and digits: `dpmpp2m` for `DPM++ 2M`; `k_euler` is Katherine Crowson's `euler`."""
    bare = re.sub(r"[^a-z0-9]", "", name.lower().replace("++", "pp"))
    unprefixed = bare.removeprefix("k")
    return unprefixed if _parted(unprefixed)[0] in _SAME | _AKIN else bare
