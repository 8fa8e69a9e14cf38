"""What stands where engines are started in a farm under test: the real one, or one that only draws.

Python runs the `sitecustomize.py` of the first folder on `PYTHONPATH` in each process; each of these concerns
engines only. The farm has no hook for them.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.programs import own_environment

_HERE = Path(__file__).parent
#: What engines of each kind see at their start; both end at a deadly prompt.
ENGINES = {"diffusers": _HERE / "deadly_prompt", "quick": _HERE / "quick_engine"}


def with_engine(engine: str) -> dict[str, str]:
    """The environment of a farm that has engines of a kind."""
    environment = own_environment()
    found_first = environment.get("PYTHONPATH", "")
    return environment | {"PYTHONPATH": os.pathsep.join(filter(None, (str(ENGINES[engine]), found_first)))}


def model_of(engine: str, folder: Path) -> Path:
    """The model for engines of a kind, made in `folder`."""
    model = folder / "models" / "tiny"
    if engine == "quick":
        # It reads no model: a folder that looks like one is enough.
        model.mkdir(parents=True)
        (model / "model_index.json").write_text("{}")
        return model
    # Imports torch.
    from tests.tiny import save_z_image

    return save_z_image(model)
