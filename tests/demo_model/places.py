"""Where the demo model's files are."""

from __future__ import annotations

from pathlib import Path

#: Below the folder of shipped models.
MODEL = Path("shotfarm-demo")
LORA = Path("loras") / "blueprint.safetensors"

_ROOT = Path(__file__).parents[2]
#: Checkpoints and caches; not committed.
TRAINING = _ROOT / ".farm" / "training"
GRID = _ROOT / "docs" / "images" / "demo-grid.png"
