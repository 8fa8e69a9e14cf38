"""The other rival: a script that is started for every image.

`python single_image.py MODEL_FOLDER SHOT FOLDER`, where `SHOT` is JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from resident_loop import load, render

if __name__ == "__main__":
    render(load(sys.argv[1]), [json.loads(sys.argv[2])], Path(sys.argv[3]))
