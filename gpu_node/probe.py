"""What this machine renders on: a CUDA card, or a CPU that stands in for the card of a file; and with which
memory and software.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from common.cards import load_card
from common.errors import Unavailable
from common.nodes import Card
from gpu_node.card_use import OtherUse
from gpu_node.energy import Meter, NvmlSensors, open_meter
from gpu_node.power import driver_limit
from gpu_node.sandbox import clean_environment
from gpu_node.system import cpu_threads, installed_memory

#: Share of the host's memory that offloaded weights may take.
_RAM_SHARE = 0.75
_KERNEL_CHECK_S = 120.0

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")

#: What the pictures of a node, and its talk with the farm, depend on.
_PACKAGES = ("shotfarm", "torch", "diffusers", "transformers", "peft", "safetensors", "pillow", "celery")


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernels:
    """What `gpu_node.engine.kernels` found."""

    torch: str
    #: Architectures this torch build has kernels for, such as `sm_61`.
    archs: tuple[str, ...]
    #: How it is known that they serve.
    check: str
    #: Why it cannot compute here; empty where it can.
    problem: str = ""
    #: Whether it computes in a confined process, too.
    confines: bool = True


class Probe(Protocol):
    """Where a node learns what it is."""

    @property
    def device(self) -> str:
        """Torch device of the engine."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs for that device to be this one."""

    @property
    def threads(self) -> int:
        """CPU threads of the engine, unless its owner says otherwise."""

    @property
    def shares(self) -> bool:
        """Whether threads and host memory are those of the machine, which its nodes share."""

    @property
    def driver(self) -> str:
        """Version of the card's driver; empty where the CPU renders."""

    def card(self) -> Card: ...

    def meter(self) -> Meter: ...

    def kernels(self) -> Kernels: ...

    def others_percent(self, own: int | None) -> float | None:
        """Of the card that other processes than `own` use; None where nothing tells."""

    def power_limit(self, watts: float | None) -> AbstractContextManager[None]:
        """Let the driver hold the power of the card, where it obeys."""


class _Cpu(ABC):
    """The CPU renders, of which no driver tells anything."""

    device = "cpu"
    driver = ""

    @property
    def environment(self) -> Mapping[str, str]:
        return {}

    @abstractmethod
    def card(self) -> Card: ...

    def meter(self) -> Meter:
        return open_meter(None, self.card().watts)

    def kernels(self) -> Kernels:
        return Kernels(torch=version("torch"), archs=("cpu",), check="the CPU needs no check")

    def others_percent(self, own: int | None) -> float | None:
        return None

    def power_limit(self, watts: float | None) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass(frozen=True)
class CpuProbe(_Cpu):
    """Name, memory and watts are those of a card file."""

    file: Path
    #: Several such nodes are on a machine.
    threads, shares = 1, False

    def card(self) -> Card:
        """Raises InvalidDocument."""
        return replace(load_card(self.file), backend="cpu", compute_capability=None)


class HostProbe(_Cpu):
    """The CPU as it is."""

    shares = True

    @property
    def threads(self) -> int:
        return cpu_threads()

    def card(self) -> Card:
        usable = int(host_memory_bytes() * _RAM_SHARE)
        return Card(name="CPU", backend="cpu", vram_bytes=usable, usable_bytes=usable, ram_bytes=usable)


class NvidiaProbe:
    """One CUDA card, by NVML; `index` counts as `nvidia-smi` does.

    CUDA may count otherwise, so its processes are shown this card alone, by name.
    """

    device = "cuda:0"
    shares = True

    def __init__(self, index: int = 0) -> None:
        self._nvml, self._handle = _open_nvml(index)
        self.environment = {"CUDA_VISIBLE_DEVICES": str(self._nvml.nvmlDeviceGetUUID(self._handle))}
        #: Where text is encoded beside the card, it is these that take the time.
        self.threads = cpu_threads()
        self.driver = str(self._nvml.nvmlSystemGetDriverVersion())
        self._use = OtherUse(self._nvml, self._handle)

    def card(self) -> Card:
        nvml, handle = self._nvml, self._handle
        total = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        return Card(
            name=str(nvml.nvmlDeviceGetName(handle)),
            backend="cuda",
            vram_bytes=total,
            usable_bytes=total - self._taken(),
            ram_bytes=int(host_memory_bytes() * _RAM_SHARE),
            compute_capability=(int(major), int(minor)),
            watts=self._limit(),
        )

    def meter(self) -> Meter:
        return open_meter(NvmlSensors(self._nvml, self._handle), self._limit())

    def kernels(self) -> Kernels:
        return check_kernels(self.device, self.environment)

    def others_percent(self, own: int | None) -> float | None:
        return self._use.percent(own)

    def power_limit(self, watts: float | None) -> AbstractContextManager[None]:
        return driver_limit(self._nvml, self._handle, watts)

    def _taken(self) -> int:
        """Bytes that driver and desktop hold for good; what other programs compute with comes and goes."""
        nvml = self._nvml
        try:
            reserved = int(nvml.nvmlDeviceGetMemoryInfo(self._handle, version=nvml.nvmlMemory_v2).reserved)
            desktop = nvml.nvmlDeviceGetGraphicsRunningProcesses(self._handle)
        except nvml.NVMLError:
            return 0
        return reserved + sum(int(process.usedGpuMemory or 0) for process in desktop)

    def _limit(self) -> float | None:
        try:
            return float(self._nvml.nvmlDeviceGetPowerManagementDefaultLimit(self._handle)) / 1e3
        except self._nvml.NVMLError:
            return None


def check_kernels(device: str, environment: Mapping[str, str], timeout_s: float = _KERNEL_CHECK_S) -> Kernels:
    """Let torch compute on the device in a confined process, as the engine is; or else in a free one."""
    confined = _checked(device, environment, timeout_s)
    if not confined.problem:
        return confined
    free = _checked(device, environment, timeout_s, "unconfined")
    return confined if free.problem else replace(free, confines=False)


def _checked(device: str, environment: Mapping[str, str], timeout_s: float, *how: str) -> Kernels:
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "gpu_node.engine.kernels", device, *how],
            env={**clean_environment(os.environ), **environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _unusable(f"no result from {device} within {timeout_s:.0f} s")
    if answer.returncode != 0:
        return _unusable((answer.stderr.strip().splitlines() or ["no output"])[-1])
    found = json.loads(answer.stdout.splitlines()[-1])
    return Kernels(
        torch=found["torch"],
        archs=tuple(found["archs"]),
        check="test computation on the card succeeded",
        problem=found["problem"],
    )


def _unusable(why: str) -> Kernels:
    return Kernels(torch="?", archs=(), check="", problem=f"torch cannot be used: {why}")


def find_probe(card_file: Path | None, gpu: int = 0) -> Probe:
    """The card file's CPU where one is given, else that CUDA card of the machine. Raises Unavailable."""
    return CpuProbe(card_file) if card_file is not None else NvidiaProbe(gpu)


def host_memory_bytes(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> int:
    """The machine's memory, or less where a control group (version 2) allows less, as a container's does."""
    installed = installed_memory()
    return min([installed, *_cgroup_limits(cgroups, own)])


@cache
def installed_versions() -> dict[str, str]:
    """Package to version; the engine runs under the same interpreter as its node."""
    return {package: version(package) for package in _PACKAGES}


def _open_nvml(index: int) -> tuple[Any, Any]:
    import pynvml

    remedy = (
        "run `nvidia-smi -L` to list the cards, install the NVIDIA driver if that program is missing, "
        "or render on the CPU with --card FILE (for example manifests/cards/gtx-1070.yaml)"
    )
    try:
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        raise Unavailable(f"no NVIDIA card {index} found on this machine ({error}); {remedy}") from None


def _cgroup_limits(cgroups: Path, own: Path) -> list[int]:
    """Bytes allowed to the group of this process and to each group around it."""
    if not own.exists():
        return []
    name = next((line[3:] for line in own.read_text().splitlines() if line.startswith("0::")), "/")
    group = cgroups / name.strip("/")
    files = [folder / "memory.max" for folder in (group, *group.parents)]
    given = [file.read_text().strip() for file in files if file.exists()]
    return [int(limit) for limit in given if limit != "max"]
