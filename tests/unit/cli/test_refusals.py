"""What cannot be done: its exit code, a sentence with the thing and the remedy, and nothing left behind."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from common.catalog import load_catalog
from tests.unit.cli.conftest import Farm

FORBIDDING = next(each.name for each in load_catalog().models.values() if not each.license.commercial)
TURBO = "version: 1\nshots:\n- {name: mugs, model: z-image-turbo, prompt: a mug, seeds: 3}\n"
#: Files in the folder of every case; a name that ends with `/` is a folder.
FILES = {
    "list.txt": '--prompt "a mug" --steps 20 --foo bar\n--prompt "a lamp" --steps 20 --seed 3\n',
    "demo.yaml": TURBO.replace("z-image-turbo", "shotfarm-demo"),
    "turbo.yaml": TURBO,
    "wrong.yaml": TURBO.replace("prompt:", "promt:"),
    "huge.yaml": TURBO.replace("seeds: 3", "seeds: 2, size: 4096x4096"),
    "dear.yaml": TURBO + "limits: {max_cost: 0.0001}\n",
    "same.yaml": TURBO + "output: {name: same}\n",
    "long.yaml": json.dumps({"version": 1, "shots": [{"model": "shotfarm-demo", "prompt": "mug " * 2000}]}),
    "sdxl.yaml": TURBO.replace("z-image-turbo", "sdxl"),
    "a.json": '{"version": 1}',
    "a.csv": "name,group\nx,y\n",
    "b.json/": "",
    "tarif.yaml": "money: {tarif_per_kwh: 0.3}\n",
    "mine.yaml": "nodes: [{name: mine}]",
    "model/": "",
    "index/model_index.json": "{}",
}
GIVEN = "--picture 'a mug' --model shotfarm-demo --vary 'red, blue' --for web"
#: Variables and words as a shell reads them, the exit code, and what is said.
REFUSED = [
    ("node invite --name attic", 2, "--owner: name whose card it is"),
    ("import nothing.txt", 2, "nothing.txt: does not exist"),
    ("import .", 2, "is a folder"),
    ("import list.txt --as kohia", 2, "did you mean `kohya`"),
    ("import list.txt --columns a", 2, "`--columns a` applies only to tables"),
    ("import list.txt --model none", 2, "unknown model"),
    ("import list.txt --out no/such/folder.yaml", 1, "no/such/folder.yaml"),
    ("import list.txt --out demo.yaml", 2, "--force"),
    ("models add nothing-like-that", 1, "no such file or folder, and no model of the built-in catalog"),
    ("models add sdxl sd15 --name x", 2, "for one model"),
    ("models rm sdxl", 1, "`sdxl` was not added by `farm models add`"),
    ("models show sdx1", 1, "the catalog has no `sdx1`: did you mean `sdxl`?"),
    ("models check sdx1", 1, "the catalog has no `sdx1`"),
    ("models check z-image-turbo", 1, "no files here; run `farm models add z-image-turbo`"),
    ("models --json show sdxl", 2, "give the options after `show`"),
    ("models --identity none", 2, "none"),
    ("models --identity model", 2, "holds no .safetensors file, so it is no model"),
    ("models --identity index", 2, "holds no .safetensors file, so it is no model"),
    ("new", 5, "stdin is not a terminal; pass `--"),
    ("new --yes", 5, "stdin is not a terminal; pass `--"),
    ("new --picture 'a mug' --model shotfarm-demo --vary 'red, blue'", 5, "not a terminal; pass `--"),
    (f"new n.yaml {GIVEN} --picture ' , '", 2, "`a mug on a table`"),
    (f"new n.yaml {GIVEN} --model shotfarm-dmo", 2, "did you mean `shotfarm-demo`?"),
    (f"new n.yaml {GIVEN} --vary 0", 2, "from 1 to 1000"),
    (f"new n.yaml {GIVEN} --vary {'9' * 5000}", 2, "from 1 to 1000"),
    (f"new n.yaml {GIVEN} --for shops", 2, "did you mean `shop`?"),
    (f"new n.yaml {GIVEN} --picture 'a <lora:x:1> mug'", 2, "do not make a valid manifest: `<lora:x:1>`"),
    (f"new n.yaml {GIVEN} --model {FORBIDDING} --for shop", 2, "forbids commercial use"),
    (f"new demo.yaml {GIVEN}", 2, "already exists"),
    (f"new link.yaml {GIVEN}", 2, "already exists"),
    (f"new . {GIVEN}", 2, "already exists"),
    (f"new nowhere/m.yaml {GIVEN}", 1, "nowhere/m.yaml cannot be written"),
    ("plan", 2, "farm plan --help' for help"),
    ("plan nowhere.yaml", 2, "nowhere.yaml: cannot be read"),
    ("plan wrong.yaml", 2, "shots[0].promt: unknown key `promt`: did you mean `prompt`"),
    ("plan demo.yaml --root nowhere", 2, "'nowhere' does not exist"),
    ("plan same.yaml", 2, "two images would have the name"),
    (
        "plan demo.yaml --card rtx-4099",
        2,
        "rtx-4099 is neither a known card nor a card file: did you mean `rtx-4090`?",
    ),
    ("plan huge.yaml --card gtx-1070", 3, "2 images fit no card: 2 images: z-image-turbo: needs"),
    ("plan dear.yaml", 4, "limits.max_cost"),
    *(
        (f"plan demo.yaml --out {name}", 2, "must end with .json or .csv")
        for name in ("p.yaml", "p", "p.json.gz")
    ),
    ("plan demo.yaml --out .csv", 2, "must end with .json or .csv"),
    ("plan demo.yaml --out a.json", 2, "choose another name"),
    ("plan demo.yaml --out a.csv", 2, "choose another name"),
    ("plan demo.yaml --out b.json", 2, "a folder"),
    ("plan nothing.yaml --out no/such/plan.json", 2, "the folder no/such does not exist"),
    ("plan long.yaml --out plan.json", 2, "shotfarm-demo reads 512"),
    *((f"plan demo.yaml --sample {value}", 2, f"`{value}`") for value in ("[/b]", "x", "0")),
    ("plan demo.yaml --shots 1 --sample 2", 2, "pass only one"),
    ("random --model shotfarm-dmo --out p", 2, "did you mean `shotfarm-demo`?"),
    ("run demo.yaml", 2, "Add `nodes: [{name: mine}]` to farm.yaml"),
    ("run sdxl.yaml --settings mine.yaml", 2, "no identity for sdxl"),
    ("run wrong.yaml", 2, "did you mean `prompt`"),
    ("up --settings tarif.yaml", 2, "money.tarif_per_kwh"),
    *((line, 1, "`farm up`") for line in ("jobs", "status", "watch j1", "pull j1 x", "cancel j1")),
    *(
        (f"up --listen '{address}'", 2, f"--listen {named}: not an address of this machine")
        for address, named in (("203.0.113.9", "203.0.113.9"), ("no host", "no host"), ("", "(empty)"))
    ),
    *(
        (f"FARM_PUBLIC_URL={url} jobs", 2, f"public_url {url}: give the full URL")
        for url in ("farm.example:8080", "ftp://farm.example", "http://", "farm")
    ),
    (
        "FARM_PUBLIC_URL=http://127.0.0.1:9 FARM_KEYS__OPERATOR=clé jobs",
        2,
        "the key for http://127.0.0.1:9 contains invalid characters",
    ),
    (
        "FARM_PUBLIC_URL=http://127.0.0.1:9 jobs",
        1,
        "the farm at http://127.0.0.1:9 does not answer (Connection refused); ",
    ),
    *(
        (f"keys create ana --expires {time}", 2, f"`{time}` must be days, hours or minutes, such as `90d`")
        for time in ("0d", "90", "1w", "99999d", "-1d")
    ),
    ("keys create ana --scope read,sumbit", 2, "unknown scope `sumbit`: did you mean `submit`?"),
    ("keys create ana --quota 20/year", 2, "a whole number above 0 per `day`, `week` or `month`"),
    ("keys create operator", 2, "is the name of a key of the settings"),
    ("delete", 2, ""),
    (f"delete mugs --sha256 {'0' * 64}", 2, ""),
    ("delete --sha256 short", 2, ""),
    *((f"FARM_HOME=list.txt {command}", None, "list.txt") for command in ("up", "status", "down")),
]


def _held(folder: Path) -> dict[Path, bytes]:
    """All that is in a folder."""
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    for name, content in FILES.items():
        path = folder / name
        (path if name.endswith("/") else path.parent).mkdir(exist_ok=True)
        if not name.endswith("/"):
            path.write_text(content)
    (folder / "link.yaml").symlink_to("nowhere")
    return folder


@pytest.mark.parametrize(("line", "code", "said"), REFUSED)
def test_what_cannot_be_done_is_said_and_leaves_nothing_behind(
    line: str, code: int | None, said: str, farm: Farm, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    before = _held(desk)
    if "FARM_PUBLIC_URL" in line:
        monkeypatch.setenv("FARM_KEYS__OPERATOR", "operator-key")
    words = shlex.split(line)
    while words[0].startswith("FARM_"):
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    ran = farm(*words)
    shown = " ".join((ran.err + ran.out).split())
    assert ran.code == code or (code is None and ran.code in (1, 2)), shown
    assert said in shown
    assert "Traceback" not in shown
    assert "clé" not in shown
    assert _held(desk) == before
