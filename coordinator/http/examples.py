"""An example request for each operation that takes a body, and for every name in an address.

Tests send all of them to a real farm, with the names of what is there in the place of these.
"""

from __future__ import annotations

from typing import Any

JOB, NODE, KEY, MODEL, WEBHOOK = "j-5f0c1a2b", "studio-4090", "ana", "ink", "w-8d21f3aa"
BATCH, ATTEMPT, TOKEN = "b-77aa01c4", "a-19d3e0f2", "t-3c5e"
TICKET = "public.8.1764512000.c0ffee"
SHOT, SHA256 = "5e" * 32, "0d" * 32
#: Of a node.
INCARNATION = 7

#: Names in addresses, and parameters behind them.
PARAMETERS: dict[str, Any] = {
    "job_id": JOB,
    "shot_id": SHOT,
    "node_id": NODE,
    "batch_id": BATCH,
    "sha256": SHA256,
    "position": 0,
    "export": "thumb",
    "name": KEY,
    "subject": JOB,
    "webhook_id": WEBHOOK,
    "key": f"images/5e/{SHOT}.png",
}

MANIFEST = """\
version: 1
name: mugs
defaults: {model: shotfarm-demo}
shots:
- name: mug
  prompt: a {colour} mug on a white background
  axes: {colour: [red, blue]}
"""

_SPENT = {"joules": 850.0, "energy_method": "counter", "seconds": {"denoise": 4.1, "decode": 0.4}}
_CARD = {
    "name": "NVIDIA GeForce RTX 4090",
    "backend": "cuda",
    "vram_bytes": 25_757_220_864,
    "usable_bytes": 24_696_061_952,
    "ram_bytes": 68_719_476_736,
    "compute_capability": [8, 9],
    "watts": 450.0,
}
_WHO = {"node_id": NODE, "incarnation": INCARNATION}
_GRANT = {"token": TOKEN, "shot_id": SHOT, "sha256": SHA256, "size": 1_310_720, "content_type": "image/png"}
_DELIVERED = {
    "token": TOKEN,
    "shot_id": SHOT,
    "outcome": "delivered",
    "key": f"quarantine/{BATCH}/{SHOT}/{SHA256}",
    "sha256": SHA256,
    "size": 1_310_720,
    "spent": _SPENT,
}
_VERDICT = {"outcome": "stored", "sha256": SHA256, "size": 1_310_720, "seconds": 0.2}
_LIMITS = {"lanes": ["public"], "max_priority": 60, "quota": "2000/day", "max_cost": "20/month"}
_MODEL = {"like": "shotfarm-demo", "steps": 12}

#: Operation to its body.
BODIES: dict[str, Any] = {
    "POST /v1/jobs": {"manifest": MANIFEST, "name": "mugs-1"},
    "POST /v1/plan": {
        "version": 1,
        "shots": [{"name": "mug", "model": "shotfarm-demo", "prompt": "a red mug"}],
    },
    "POST /v1/images": {
        "model": "shotfarm-demo",
        "prompt": "{trigger} of a red boat",
        "aspect": "1:1",
        "megapixels": 0.016,
        "steps": 9,
        "seed": 7,
        "loras": [{"name": "blueprint", "weight": 0.8}],
    },
    "POST /v1/images/generations": {
        "model": "shotfarm-demo",
        "prompt": "a red mug",
        "n": 1,
        "size": "128x128",
    },
    "POST /sdapi/v1/txt2img": {
        "prompt": "a blue lamp",
        "seed": 11,
        "steps": 9,
        "cfg_scale": 1,
        "width": 128,
        "height": 128,
        "override_settings": {"sd_model_checkpoint": "shotfarm-demo"},
    },
    "POST /v1/jobs/{job_id}/priority": {"priority": 50},
    "POST /v1/jobs/{job_id}/delete": {"by": "ana"},
    "POST /v1/shots/stored": {"ids": [SHOT]},
    "POST /v1/jobs/{job_id}/picks": {"positions": [0, 1], "kept": "yes", "stars": 4},
    "POST /v1/shots/{shot_id}/reject": {"by": "ana", "redo": "next seed"},
    "POST /v1/shots/{shot_id}/delete": {"by": "ana"},
    "POST /v1/images/{sha256}/delete": {"by": "ana"},
    "POST /v1/nodes/{node_id}/discard-images": {"by": "ana"},
    **{
        f"POST /v1/nodes/{{node_id}}/{verb}": {"reason": "new fan"}
        for verb in ("drain", "pause", "resume", "quarantine", "revoke", "remove")
    },
    "POST /v1/models": {"section": "models", "name": MODEL, "entry": _MODEL},
    "POST /v1/keys": {"name": KEY, "owner": "studio", "scopes": ["submit", "read"], **_LIMITS},
    "POST /v1/keys/{name}/limits": _LIMITS,
    "POST /v1/keys/{name}/rotate": {"grace_s": 86400},
    "POST /v1/webhooks": {"url": "https://hooks.studio.example/farm", "events": ["shot", "job"]},
    "POST /v1/access": {
        "challenge": f"1060.250:{TOKEN}:c0ffee",
        "node": NODE,
        "public_key": SHA256,
        "signature": SHA256 * 2,
        "invitation": {"public_key": SHOT, "signature": SHA256 * 2},
    },
    "POST /v1/nodes/{node_id}/key": {"public_key": SHA256, "signature": SHA256 * 2},
    "POST /v1/invitations": {"name": NODE, "owner": "ana", "lanes": ["public"], "terms": "volunteer"},
    "POST /v1/nodes": {"name": NODE, "card": _CARD, "models": ["shotfarm-demo"], "lanes": ["public"]},
    "POST /v1/nodes/{node_id}/beats": {"incarnation": INCARNATION, "watts": 61.5, "temperature_c": 48.0},
    "POST /v1/nodes/{node_id}/holdings": {"incarnation": INCARNATION, "models": ["shotfarm-demo"]},
    "POST /v1/nodes/{node_id}/measurements": {
        "incarnation": INCARNATION,
        "paces": [{"model": "shotfarm-demo", "recipe": "fp32", "seconds": 0.8}],
    },
    "POST /v1/nodes/{node_id}/leave": {"incarnation": INCARNATION},
    "POST /v1/nodes/{node_id}/orders": {"incarnation": INCARNATION, "wait_s": 0},
    "POST /v1/nodes/{node_id}/park": {"beat": {"incarnation": INCARNATION}, "turn": "0" * 32, "wait_s": 0},
    "POST /v1/claims": {**_WHO, "ticket": TICKET, "wait_s": 0},
    "POST /v1/batches/{batch_id}/grants": _GRANT,
    "POST /v1/batches/{batch_id}/pass/grants": {"requests": [_GRANT]},
    "POST /v1/batches/{batch_id}/embeddings": {"token": TOKEN, "encoding": SHA256},
    "POST /v1/batches/{batch_id}/embeddings/reports": {"token": TOKEN, "encoding": SHA256, "encoded": 0},
    "POST /v1/batches/{batch_id}/reports": _DELIVERED,
    "POST /v1/batches/{batch_id}/pass/reports": {"reports": [_DELIVERED]},
    "POST /v1/batches/{batch_id}/close": {"token": TOKEN, "outcome": "finished", "load": {"joules": 900.0}},
    "POST /v1/deliveries": {"attempt_ids": [ATTEMPT]},
    "POST /v1/verdicts": {"verdicts": [{"attempt_id": ATTEMPT, "verdict": _VERDICT}]},
}
