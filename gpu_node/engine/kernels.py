"""Whether this torch can compute on a card; `python -m gpu_node.engine.kernels cuda:0` prints it as JSON.

A process of its own, because asking takes hundreds of MB of the card until the asker ends.
"""

from __future__ import annotations

import json
import sys

from gpu_node import sandbox


def main() -> None:
    device = sys.argv[1]
    # As engines are.
    if not sys.argv[2:]:
        sandbox.enter(())
    import torch

    archs = torch.cuda.get_arch_list()
    found: dict[str, object] = {"torch": torch.__version__, "archs": archs, "problem": ""}
    if not torch.cuda.is_available():
        found["problem"] = f"torch {torch.__version__} was built without CUDA support, or no driver was found"
    else:
        try:
            # A build without kernels for this card fails here and nowhere earlier.
            square = torch.ones(8, 8, device=device)
            if float((square @ square).sum()) != 512.0:
                found["problem"] = "a test multiplication on the card gave a wrong result"
        except RuntimeError as error:
            found["problem"] = str(error).splitlines()[0]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
