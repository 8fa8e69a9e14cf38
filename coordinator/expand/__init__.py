"""Expansion: lazily converts a manifest to shots with resolved randomness and content hashes."""

from coordinator.expand.build import expand
from coordinator.expand.census import Census, check_names, take_census
from coordinator.expand.expansion import Expansion
from coordinator.expand.group import GroupExpansion

__all__ = ["Census", "Expansion", "GroupExpansion", "check_names", "expand", "take_census"]
