import json
import re

from hypothesis import given
from hypothesis import strategies as st

from common.infotext import farm_json, infotext
from common.shot import LoraUse, Shot
from tests.shots import MUG

SHOT = MUG._replace(loras=(LoraUse("ana", "sha256:" + "fe" * 32, 0.8),))


def parsed(text: str) -> tuple[str, str, dict[str, str]]:
    """Prompt, negative prompt and settings, by the rules of the web UI that named the format."""
    *lines, last = text.split("\n")
    prompt, _, negative = "\n".join(lines).partition("\nNegative prompt: ")
    pairs = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', last)
    return prompt, negative, {k: json.loads(v) if v.startswith('"') else v for k, v in pairs}


def test_other_tools_read_prompt_seed_size_and_hashes():
    prompt, negative, settings = parsed(infotext(SHOT, version="shotfarm 0.1.0"))
    assert (prompt, negative) == ("a red mug <lora:ana:0.8>", "blurry")
    both = SHOT._replace(loras=(SHOT.loras[0]._replace(text_weight=0.5),))
    # As the web UI reads them: that for the text encoder first.
    assert infotext(both, version="").startswith("a red mug <lora:ana:0.5:0.8>\n")
    assert settings == {
        "Steps": "9",
        "Sampler": "euler",
        "CFG scale": "1.5",
        "Seed": "7",
        "Size": "832x1216",
        "Model hash": "0123456789",
        "Model": "demo",
        "Blind steps": "1",
        "Shift": "3",
        "Lora hashes": "ana: fefefefefe",
        "Version": "shotfarm 0.1.0",
    }


def test_a_model_pinned_by_commit_is_hashed_by_its_commit():
    shot = SHOT._replace(model_identity="org/name@0d1e2f3a4b5c6d7e")
    assert parsed(infotext(shot, version="v"))[2]["Model hash"] == "0d1e2f3a4b"


@given(st.text(min_size=1).map(str.strip).filter(bool))
def test_any_name_survives_quoting(name: str):
    assert parsed(infotext(SHOT._replace(model=name), version="v"))[2]["Model"] == name


@given(st.text())
def test_the_farms_json_restores_the_shot_and_its_template(template: str):
    record = json.loads(farm_json(SHOT, template=template, recipe="fp32", version="0.1.0"))
    assert Shot.from_dict(record["shot"]) == SHOT
    assert (record["id"], record["template"], record["recipe"]) == (SHOT.id, template, "fp32")


def test_the_farms_json_is_the_same_text_every_time():
    first = farm_json(SHOT, template="t", recipe="r", version="v")
    assert first == farm_json(Shot.from_dict(SHOT.to_dict()), template="t", recipe="r", version="v")
