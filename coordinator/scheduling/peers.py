"""Peers: nodes that can take the same work, so that what a card takes is worked out once for all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from common.states import NodeState
from coordinator.scheduling.member import Member

#: Groups of peers, one bit for each.
Reach = int
#: Groups that may be empty before all are numbered anew: a rejoining node often has another amount of memory.
_EMPTY = 16


@dataclass(frozen=True, slots=True)
class Peers:
    #: The reach of work that only these can take.
    bit: Reach
    #: One of them, now or earlier.
    example: Member
    serving: set[str] = field(default_factory=set)
    #: In their self-test; they count as takers of nothing.
    tested: set[str] = field(default_factory=set)

    @property
    def is_empty(self) -> bool:
        return not self.serving and not self.tested


@dataclass(slots=True)
class PeerGroups:
    """The nodes in service, and those in their self-test, by what they can take."""

    _groups: dict[tuple[object, ...], Peers] = field(default_factory=dict)
    #: Node to its group.
    _of: dict[str, Peers] = field(default_factory=dict)
    _counts: dict[Reach, int] = field(default_factory=dict)

    def all(self) -> Collection[Peers]:
        return self._groups.values()

    def of(self, node_id: str) -> Peers | None:
        """The group of a node; None if it is neither in service nor in its self-test."""
        return self._of.get(node_id)

    def follow(self, node: Member) -> Peers | None:
        """Keep up with a node; returns its group if that is new."""
        group, stays = self._of.get(node.id), node.serves or node.state is NodeState.SELFTEST
        if group is not None and (not stays or group.example.abilities != node.abilities):
            del self._of[node.id]
            group.tested.discard(node.id)
            self._count(group, node.id, serves=False)
            group = None
        if not stays:
            return None
        new = None
        if group is None:
            group = self._groups.get(node.abilities)
            if group is None:
                group = new = Peers(1 << len(self._groups), node)
                self._groups[node.abilities] = new
            self._of[node.id] = group
        self._count(group, node.id, serves=node.serves)
        (group.tested.discard if node.serves else group.tested.add)(node.id)
        return new

    def tidy(self) -> bool:
        """Forget empty groups if there are many; returns whether groups have other bits now."""
        kept = {key: group for key, group in self._groups.items() if not group.is_empty}
        if len(self._groups) <= 2 * len(kept) + _EMPTY:
            return False
        self._groups = {
            key: replace(group, bit=1 << number) for number, (key, group) in enumerate(kept.items())
        }
        self._of = {node_id: group for group in self.all() for node_id in (*group.serving, *group.tested)}
        self._counts.clear()
        return True

    def within(self, reach: Reach) -> Iterator[Peers]:
        """The groups of a reach."""
        return (group for group in self.all() if group.bit & reach)

    def number(self, reach: Reach) -> int:
        """How many nodes in service a reach has."""
        known = self._counts.get(reach)
        if known is None:
            known = self._counts[reach] = sum(len(group.serving) for group in self.within(reach))
        return known

    def nodes(self, reach: Reach) -> list[str]:
        """The nodes in service of a reach, sorted."""
        return sorted(node_id for group in self.within(reach) for node_id in group.serving)

    def copy(self) -> PeerGroups:
        groups = {
            key: replace(group, serving=group.serving.copy(), tested=group.tested.copy())
            for key, group in self._groups.items()
        }
        of = {node_id: groups[group.example.abilities] for node_id, group in self._of.items()}
        return PeerGroups(groups, of)

    def _count(self, group: Peers, node_id: str, *, serves: bool) -> None:
        if serves != (node_id in group.serving):
            (group.serving.add if serves else group.serving.discard)(node_id)
            self._counts.clear()
