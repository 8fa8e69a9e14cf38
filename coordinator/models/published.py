"""SHA-256 sums of model files that others publish, to recognise a file by.

Source: Haidra-Org/AI-Horde-image-model-reference, stable_diffusion.json, June 2026. No sum is published there
for Z-Image, Z-Image-Turbo or FLUX.2 klein.
"""

from __future__ import annotations

SOURCE = "AI-Horde-image-model-reference"
PUBLISHED = {
    "31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b": "SDXL base 1.0",
    "c379d154eb476b67b390e31463c41c79ac9e766466315408886ebb7faa2ea098": "AlbedoBase XL 3.1",
    "dd08fa32f98d05a2443ca1419e46df1575a0811f6e3b246d9dd47ff20f5eb66a": "Juggernaut XL Ragnarok",
    "5c2c590e92ed47500092ef8e1a00fd1f8e61009da93b89130a80940f5257df17": "FLUX.1 schnell fp8, compact",
}
