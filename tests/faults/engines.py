"""What stands where engines are started in a farm under test: the real one, or one that only draws.

Python runs the `sitecustomize.py` of the first folder on `PYTHONPATH` in each process; each of these concerns
engines only. The farm has no hook for them.
"""

from __future__ import annotations

import os
from pathlib import Path

_HERE = Path(__file__).parent
#: What engines of each kind see at their start; both end at a deadly prompt.
ENGINES = {"diffusers": _HERE / "deadly_prompt", "quick": _HERE / "quick_engine"}


def put_in_place(engine: str, folder: Path) -> Path:
    """Let farms that this process starts have engines of a kind; the model for them, made in `folder`."""
    found_first = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ENGINES[engine]), found_first)))
    model = folder / "models" / "tiny"
    if engine == "quick":
        # It reads no model: a folder that looks like one is enough.
        model.mkdir(parents=True)
        (model / "model_index.json").write_text("{}")
        return model
    # Imports torch.
    from tests.tiny import save_z_image

    return save_z_image(model)
