"""A grid over two axes of a job: one cell for each pair of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fastapi import APIRouter, Request, Response

from common.errors import NotFound
from common.views import ImageView
from coordinator.farm import Farm
from coordinator.ledger import ShotFilter
from coordinator.web.jobs import After
from coordinator.web.rendering import page
from coordinator.web.visitor import TheVisitor

router = APIRouter(prefix="/jobs/{job_id}")

#: Shots of a job that one page looks at, and images of a cell.
_SHOTS = 5000
_CELL = 4


class Grid(NamedTuple):
    rows: Sequence[str]
    columns: Sequence[str]
    #: By row and column; the first images of each.
    cells: Mapping[tuple[str, str], Sequence[ImageView]]
    #: Position of the last shot that was looked at if others follow, else None.
    upto: int | None


@router.get("/grid")
def show(
    request: Request, visitor: TheVisitor, job_id: str, rows: str = "", columns: str = "", after: After = -1
) -> Response:
    """The grid of the shots behind a position; without axes, over the two with the most values."""
    farm = visitor.farm
    job = farm.ledger.jobs.view(visitor.job(job_id))
    axes = {axis: values for axis, values in job.axes.items() if len(values) > 1}
    if len(axes) < 2:
        raise NotFound(f"job {job_id} has fewer than two axes with several values: there is no grid of it")
    longest = sorted(axes, key=lambda axis: len(axes[axis]), reverse=True)
    rows = rows if rows in axes else longest[0]
    columns = (
        columns if columns in axes and columns != rows else next(each for each in longest if each != rows)
    )
    grid = _grid(farm, job_id, (rows, axes[rows]), (columns, axes[columns]), after)
    return page(
        request,
        "grid.html",
        job=job,
        axes=list(axes),
        rows=rows,
        columns=columns,
        after=after,
        grid=grid,
    )


def _grid(
    farm: Farm, job_id: str, down: tuple[str, Sequence[str]], across: tuple[str, Sequence[str]], after: int
) -> Grid:
    shots, end = farm.ledger.shots.page(job_id, ShotFilter(), after=after, limit=_SHOTS)
    cells: dict[tuple[str, str], list[ImageView]] = {}
    for shot in shots:
        values = shot.axes | {"group": shot.group}
        if down[0] in values and across[0] in values:
            cell = cells.setdefault((values[down[0]], values[across[0]]), [])
            if len(cell) < _CELL:
                cell.append(shot)
    used = {row for row, _ in cells}, {column for _, column in cells}
    return Grid(
        [value for value in down[1] if value in used[0]],
        [value for value in across[1] if value in used[1]],
        cells,
        end,
    )
