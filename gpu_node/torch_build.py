"""Which build of torch the cards of this machine need, and where it is. Standard library only."""

from __future__ import annotations

import os
import subprocess
import sys

#: `skip` leaves torch as it is.
BUILDS = ("cpu", "cu126", "cu130", "skip")
#: Cards older than this run only on the CUDA 12.6 builds, which torch keeps up to 2.14.
OLDEST_OF_CUDA_13 = (7, 5)
TORCH_INDEX = "https://download.pytorch.org/whl/"


def torch_build() -> str:
    """`FARM_TORCH`, else by the oldest card: cu126 for Pascal and Volta, cu130 for newer, cpu for none."""
    named = os.environ.get("FARM_TORCH")
    if named:
        if named not in BUILDS:
            sys.exit(f"FARM_TORCH={named}: it may be " + ", ".join(BUILDS))
        return named
    cards = compute_capabilities()
    if not cards:
        return "cpu"
    return "cu126" if min(cards) < OLDEST_OF_CUDA_13 else "cu130"


def compute_capabilities() -> list[tuple[int, ...]]:
    """Of every NVIDIA card, such as (6, 1); empty where there is none."""
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [tuple(int(part) for part in line.split(".")) for line in answer.split() if "." in line]
