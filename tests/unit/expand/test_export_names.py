"""Names of the files of an image in several sizes."""

from __future__ import annotations

import pytest

from common.errors import InvalidDocument
from common.exports import exports_at
from coordinator.expand import check_names
from tests.unit.expand.making import expanded, group, refused, warned


def files(output: str, *lines: str) -> list[str]:
    planned = expanded(group(*lines, model="sdxl", top=f"output: {output}"))
    return [file for each in planned for file in each.files]


SIZES = "sizes: [1024x1024, {name: thumb, size: 512x512}]"


def test_the_name_of_an_export_ends_the_file_name_or_stands_where_the_pattern_says() -> None:
    assert files(f"{{{SIZES}}}") == ["g/0-0-1024x1024", "g/0-0-thumb"]
    assert files(f"{{{SIZES}, name: '{{export}}/{{seed}}'}}") == ["1024x1024/0", "thumb/0"]
    assert files(f"{{{SIZES}, name: '{{v}}'}}", "axes: {v: [a.png, 'b*c']}") == [
        "a-1024x1024", "a-thumb", "b-c-1024x1024", "b-c-thumb"
    ]  # fmt: skip
    assert files(f"{{{SIZES}, name: 'x*{{seed}}.png'}}") == ["x-0-1024x1024", "x-0-thumb"]


def test_long_values_leave_space_for_the_name_of_the_export() -> None:
    (planned,) = expanded(
        group(f"axes: {{v: [{'ü' * 300}]}}", model="sdxl", top=f"output: {{{SIZES}, name: '{{v}}'}}")
    )
    assert all(len(file.encode()) <= 200 for file in planned.files)
    assert len(planned.files[0].encode()) > 100


def test_sizes_do_not_change_the_identity_of_a_shot() -> None:
    plain, sized = (expanded(group(model="sdxl", top=f"output: {{{keys}}}"))[0] for keys in ("", SIZES))
    assert (plain.id, plain.shot) == (sized.id, sized.shot)


def test_an_export_in_a_name_needs_sizes() -> None:
    (said,) = refused(group(top="output: {name: 'a/{export}'}"))
    remedy = "{export} is the name of an export; list some in `output.sizes`, or leave it out"
    assert said == f"m.yaml:2:19: output.name: {remedy}"


def test_files_of_different_groups_must_not_have_the_same_name() -> None:
    clash = """\
version: 1
defaults: {model: sdxl, prompt: x}
shots:
- {name: a, output: {name: "{seed}", sizes: [64x64]}}
- {name: b, prompt: y, output: {name: "{seed}-64X64"}}
"""
    with pytest.raises(InvalidDocument, match="two images would have the name `0-64X64`"):
        check_names(expanded(clash))
    check_names(expanded(clash.replace("64X64", "thumb")))


def test_a_job_knows_the_exports_of_each_group_by_its_first_shot() -> None:
    both = """\
version: 1
defaults: {model: sdxl, prompt: x}
output: {crop: pad}
shots:
- {name: a, seeds: 2, output: {sizes: [64x64, 2x]}}
- {name: b}
- {name: c, output: {sizes: [original]}}
"""
    exports = expanded(both).exports
    names = [[each.name for each in exports_at(position, exports)] for position in range(4)]
    assert names == [["64x64", "2x"], ["64x64", "2x"], [], ["original"]]
    assert expanded(group()).exports == ()


def test_a_size_that_enlarges_is_warned_of_once_and_a_huge_one_refused() -> None:
    sizes = "output: {sizes: [1200x628, 512x512, 2x]}"
    (said,) = warned(group("axes: {size: [1024x1024, 832x1216]}", model="sdxl", top=sizes))
    assert said.startswith("m.yaml:2:18: output.sizes[0]: enlarges images of ")
    assert said.endswith("1.2 times, which adds no detail; set a larger `size`, or an upscaler as `upscale`")
    (said,) = refused(group(model="sdxl", top="output: {sizes: [original, 9000x9000]}"))
    assert "2:28: output.sizes[1]: makes" in said
    assert said.endswith("the limit is 64 megapixels")
