"""Which classifiers judge the images of a lane, by the settings and the catalog of the farm."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from common.catalog import Catalog
from common.errors import Invalid
from common.lanes import Lane, Lanes
from common.messages import Screening
from common.wording import listed, suggestion


def screenings_of(lane: Lane, catalog: Catalog) -> tuple[Screening, ...]:
    """What ingest runs on each image of a lane; `check_screenings` has found all of it in the catalog."""
    chosen = ((catalog.classifiers[name], thresholds) for name, thresholds in lane.classifiers.items())
    return tuple(
        Screening(
            classifier=classifier.name,
            form=classifier.form,
            path=classifier.path,
            sha256=classifier.identity.removeprefix("sha256:"),
            thresholds=thresholds,
        )
        for classifier, thresholds in chosen
    )


def check_screenings(lanes: Lanes, labels: Mapping[str, Collection[str]]) -> None:
    """Raises Invalid where a lane orders what the classifiers, given with their labels, do not tell."""
    for lane_name, lane in lanes.named.items():
        for name, thresholds in lane.classifiers.items():
            where = f"lanes.{lane_name}.classifiers.{name}"
            if name not in labels:
                remedy = suggestion(name, labels) or "; `farm models add` adds one"
                raise Invalid(f"{where}: the catalog has no image classifier `{name}`{remedy}")
            for label in thresholds:
                if label not in labels[name]:
                    raise Invalid(f"{where}: it has no label `{label}`; it has {listed(labels[name])}")
