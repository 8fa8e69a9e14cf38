"""Where the demo model's files lie."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
#: Below a folder of weights.
MODEL = Path("shotfarm-demo")
LORA = Path("loras") / "blueprint.safetensors"

_ROOT = Path(__file__).parents[2]
#: Checkpoints and caches; not committed.
TRAINING = _ROOT / ".farm" / "training"
GRID = _ROOT / "docs" / "images" / "demo-grid.png"
