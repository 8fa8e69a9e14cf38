"""Nodes: joining, liveness, and what operators and owners decide about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, func, insert, select

from common.catalog import Catalog
from common.errors import Conflict, Forbidden, Gone, NotFound
from common.fit import peak_limit
from common.lanes import Viewer
from common.levels import Level, level_of
from common.messages import Heartbeat, HeartbeatAnswer, Holdings, Join, Listen, Measurements, NewHoldings
from common.nodes import Card, Terms, is_own
from common.states import GONE, BatchEvent, BatchState, NodeEvent, NodeState, ShotEvent, ShotState
from common.views import MemoryView, NodeView, Who
from coordinator.ledger import trust
from coordinator.ledger.credible import most_joules
from coordinator.ledger.discards import discard, images_of
from coordinator.ledger.endings import end_held
from coordinator.ledger.fleet import members, served_lanes, with_levels
from coordinator.ledger.heartbeats import answer_heartbeats, answer_listeners
from coordinator.ledger.identities import as_granted, end_invitations, end_keys, must_be_valid
from coordinator.ledger.measurements import memory_views, note_trials
from coordinator.ledger.node_rows import hear, node_row, record
from coordinator.ledger.node_views import node_readings, node_views
from coordinator.ledger.records import Act, BrokerAccount, FleetReadings, JoinedNode
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, nodes, plain, shots
from coordinator.ledger.standings import known_standing, set_standing, standings_of, volunteers_of
from coordinator.ledger.transactions import Transactions, Write
from coordinator.ledger.transitions import move_node, move_shots
from coordinator.ledger.trust import doubt_node
from coordinator.ledger.verification import reinstate
from coordinator.ledger.waiting import samples
from coordinator.scheduling.changes import NodesChanged
from coordinator.scheduling.member import card_of
from coordinator.scheduling.trials import plausible

#: Images that are discarded in one transaction.
_DISCARDED = 50
#: Names of actors in messages.
_NAMES: dict[str, str] = {"operator": "the operator", "owner": "its owner"}


@dataclass(frozen=True, slots=True)
class Nodes:
    """Methods raise NotFound for a node that does not exist."""

    transactions: Transactions
    rules: Rules

    def join(
        self, join: Join, *, owned_lanes: Collection[str] | None = None, broker_digest: str = ""
    ) -> JoinedNode:
        """Begin a new incarnation of a node, whose broker user has a password of this SHA-256, if it is one
        of the farm's own.

        It has the owner, lanes and terms of its invitation; an owned node says them, but serves no others
        than `owned_lanes` (None: all, on a farm without keys), and no node those whose prompts it may not
        see. Raises Forbidden for these and for a node whose key has ended, Conflict if another process has
        taken its name since.
        """
        with self.transactions.write() as write:
            granted = as_granted(write.connection, join, owned_lanes)
            return _join(write, self.rules, granted, broker_digest)

    def hold(self, node_id: str, holdings: NewHoldings) -> NodeState:
        """Record what a node offers now; returns its state. Raises Gone as `leave` does."""
        with self.transactions.write() as write:
            state = hear(write, node_row(write.connection, node_id, holdings.incarnation))
            record(write, node_id, **_offered(holdings))
            write.touch(node_id)
            # What it offers now may be what shots wait for.
            write.brings_nodes = True
            return state

    def measure(self, node_id: str, told: Measurements, catalog: Catalog) -> NodeState:
        """Record what an idle node measured, as far as it is plausible by `catalog`; returns its state.

        That of volunteers and of nodes that are not trusted counts for nothing, as it decides about cards of
        others. Raises Gone as `leave` does.
        """
        with self.transactions.write() as write:
            row = node_row(write.connection, node_id, told.incarnation)
            if row.terms != "volunteer" and row.distrusted_at is None:
                note_trials(write, node_id, list(plausible(told.paces, card_of(row.card), catalog)))
            return NodeState(row.state)

    def heartbeats(self, beats: Sequence[tuple[str, Heartbeat]]) -> list[HeartbeatAnswer | Gone | NotFound]:
        """Record heartbeats and renew the leases that they name, many in one commit.

        The response is `stop` for a lease that has ended, and Gone for an older incarnation or a wrong token.
        """
        with self.transactions.write() as write:
            return answer_heartbeats(write, self.rules, beats)

    def orders(self, calls: Sequence[tuple[str, Listen]]) -> list[HeartbeatAnswer | Gone | NotFound]:
        """The response that a heartbeat of each node would get now; many in one read."""
        with self.transactions.read() as connection:
            return answer_listeners(connection, calls)

    def views(self) -> list[NodeView]:
        """All nodes that joined and were not forgotten, sorted by name."""
        with self.transactions.backlog() as backlog:
            slow, horizons = backlog.slow_paths(), backlog.horizons or {}
        with self.transactions.read() as connection:
            return node_views(connection, self.rules.lanes, slow(), horizons, self.transactions.clock())

    def level(self, owner: str, terms: Terms) -> Level:
        """What a node of an owner has on these terms."""
        with self.transactions.backlog() as backlog:
            return level_of(terms, backlog.standings.get(owner))

    def readings(self) -> FleetReadings:
        """What metrics tell of all nodes, in the order of their names."""
        with self.transactions.backlog() as backlog:
            known, slow = backlog.nodes(), backlog.slow_paths()
        with self.transactions.read() as connection:
            return FleetReadings(node_readings(connection, known), slow())

    def memory(self) -> list[MemoryView]:
        """Memory measurements of each type of card; `predicted_bytes` is None."""
        with self.transactions.read() as connection:
            return memory_views(connection)

    def leave(self, node_id: str, incarnation: int) -> None:
        """Return the batch of a stopping node to the backlog.

        A paused or distrusted node keeps its state until it rejoins. Raises Gone as `heartbeats` does.
        """
        with self.transactions.write() as write:
            node_row(write.connection, node_id, incarnation)
            _leave(write, self.rules, node_id)

    def leave_for_good(self, node_id: str) -> None:
        """As `leave`, and let the key of the node never be valid again."""
        with self.transactions.write() as write:
            end_keys(write, node_id, "left")
            with suppress(NotFound):  # it may have had access and never joined
                node_row(write.connection, node_id)
                _leave(write, self.rules, node_id)
                record(write, node_id, broker_digest="")

    def revoke(self, node_id: str, reason: str = "", *, act: Act | None = None) -> tuple[str, ...]:
        """Reclaim the batch of a node, and let neither its key nor its name nor its invitation join again.

        Returns the names of the nodes that joined by the same invitation and still may call. Raises Conflict
        if it is revoked already.
        """
        with self.transactions.write(act) as write:
            return _revoke(write, self.rules, node_id, "revoked", reason)

    def remove(self, node_id: str, reason: str = "", *, act: Act | None = None) -> tuple[str, ...]:
        """As `revoke`, and take it off the list; another key may have its name then."""
        with self.transactions.write(act) as write:
            siblings = _revoke(write, self.rules, node_id, "removed", reason)
            with suppress(NotFound):  # it may have had access and never joined
                state = NodeState(node_row(write.connection, node_id).state)
                if state is not NodeState.FORGOTTEN:
                    move_node(write, node_id, state, NodeEvent.FORGOTTEN)
            return siblings

    def broker_accounts(self, node_id: str | None = None) -> list[BrokerAccount]:
        """What nodes may take from the broker: one, or all."""
        query = with_levels(nodes).where(nodes.c.broker_digest != "")
        if node_id is not None:
            query = query.where(nodes.c.id == node_id)
        with self.transactions.read() as connection:
            return [
                BrokerAccount(row.id, served_lanes(row, self.rules.lanes), row.vram_class, row.broker_digest)
                for row in connection.execute(query)
            ]

    def drain(self, node_id: str, reason: str = "", *, act: Act | None = None) -> None:
        """Drain a node: it finishes its batch, claims no other, and is offline until the operator resumes it,
        whether or not it restarts."""
        with self.transactions.write(act) as write:
            state = NodeState(node_row(write.connection, node_id).state)
            decision = _decision("drained", "operator", reason)
            whose = {"decided_by": "operator", "drained": decision}
            move_node(write, node_id, state, NodeEvent.DRAINED, detail=decision, **whose)

    def pause(self, node_id: str, reason: str = "", *, who: Who = "operator", act: Act | None = None) -> None:
        """Reclaim the batch of a node immediately, without blame, and assign none until it is resumed.

        Raises Conflict if the other of the two has paused it already.
        """
        with self.transactions.write(act) as write:
            node = node_row(write.connection, node_id)
            if node.state == NodeState.PAUSED:
                _must_be_theirs(node, who)
            end_held(write, self.rules, node_id, BatchEvent.RELEASED)
            state = NodeState(node_row(write.connection, node_id).state)
            decision = _decision("paused", who, reason)
            move_node(
                write, node_id, state, NodeEvent.PAUSED, detail=decision, reason=decision, decided_by=who
            )

    def resume(self, node_id: str, *, who: Who = "operator", act: Act | None = None) -> None:
        """Undo `drain` or `pause`; a distrusted node must first pass a self-test.

        An owner ends no drain, and no quarantine before its time. Raises Conflict if the caller did not set
        the pause: only the owner can end a pause by the owner; and for a node that was revoked.
        """
        with self.transactions.write(act) as write:
            node = node_row(write.connection, node_id)
            must_be_valid(write.connection, node_id)
            if node.state == NodeState.OFFLINE and node.decided_by == "owner":
                raise Conflict(f"node {node_id} was {node.reason}: restart it there with `farm-node run`")
            if node.state == NodeState.PAUSED:
                _must_be_theirs(node, who)
            elif who == "owner":
                raise Conflict(f"node {node_id} is {node.state}, not paused")
            if who == "owner" and node.drained:
                whose = {"reason": node.drained, "decided_by": "operator"}
                move_node(write, node_id, NodeState.PAUSED, NodeEvent.HELD, detail=node.drained, **whose)
            elif node.state == NodeState.PAUSED and node.distrusted_at is not None:
                _test_or_confine(write, self.rules, node, who)
            else:
                move_node(write, node_id, NodeState(node.state), NodeEvent.RESUMED, drained="")
                trust.doubt_node(write, self.rules, node_id)

    def quarantine(self, node_id: str, reason: str = "", *, act: Act | None = None) -> None:
        """Reclaim the batch of a node without blame; after `timing.quarantine_s` it must pass a self-test."""
        with self.transactions.write(act) as write:
            node_row(write.connection, node_id)
            end_held(write, self.rules, node_id, BatchEvent.RELEASED)
            node = node_row(write.connection, node_id)
            trust.quarantine(write, node, _decision("quarantined", "operator", reason), "operator")

    def forgive(self, node_id: str, *, act: Act | None = None) -> None:
        """Trust a quarantined node immediately, and clear the record of any node.

        An owner that was barred is on probation again, with all of its nodes.
        """
        with self.transactions.write(act) as write:
            node = node_row(write.connection, node_id)
            trust.forgive(write, node)
            if not is_own(node.terms):
                reinstate(write, node.owner)

    def vouch(self, node_id: str, *, act: Act | None = None) -> None:
        """Note that the operator knows the owner of a volunteer's node. Raises Conflict for another node."""
        with self.transactions.write(act) as write:
            _know(write, node_id, known=True)

    def disavow(self, node_id: str, *, act: Act | None = None) -> None:
        """Undo `vouch`, and reclaim batches of lanes that this closes. Raises Conflict for another node."""
        with self.transactions.write(act) as write:
            owner, level = _know(write, node_id, known=False)
            held = batches.c.node_id.in_(volunteers_of(owner)), batches.c.state == plain(BatchState.LEASED)
            for row in write.connection.execute(select(batches.c.node_id, batches.c.lane).where(*held)).all():
                if self.rules.lanes.of(row.lane).closed_to(Viewer(owner, level)):
                    end_held(write, self.rules, row.node_id, BatchEvent.RELEASED)

    def discard_images(self, node_id: str, by: str, *, act: Act | None = None) -> int:
        """Delete all stored images of a node, in chunks; jobs get new ones. Returns their number."""
        discarded = 0
        while True:
            with self.transactions.write(act) as write:
                node_row(write.connection, node_id)
                found = [row.shot_id for row in images_of(write, node_id, _DISCARDED)]
                discard(write, self.rules.rates.currency, found, by)
            discarded, act = discarded + len(found), None
            if len(found) < _DISCARDED:
                return discarded

    def forget(self, node_id: str, *, act: Act | None = None) -> None:
        """Leave a node that is offline or lost out of lists, metrics and alerts, until it joins again.

        Its row remains, for its costs and measurements. Raises Conflict for a node that may still work.
        """
        with self.transactions.write(act) as write:
            node = node_row(write.connection, node_id)
            _must_be_gone(node, since=write.now - self.rules.timing.lease_s)
            # Should it call again, it is told to join.
            again = {"incarnation": node.incarnation + 1}
            move_node(write, node_id, NodeState(node.state), NodeEvent.FORGOTTEN, **again)


def _know(write: Write, node_id: str, *, known: bool) -> tuple[str, Level]:
    """Note whether the operator knows the owner of a node; returns the owner and its level."""
    node = node_row(write.connection, node_id)
    if is_own(node.terms):
        raise Conflict(f"node {node_id} is {node.terms}: the farm trusts it already")
    standing = replace(known_standing(write, node.owner), known=known)
    return node.owner, set_standing(write, node.owner, standing)


def _leave(write: Write, rules: Rules, node_id: str) -> None:
    end_held(write, rules, node_id, BatchEvent.RELEASED)
    if node_row(write.connection, node_id).state == NodeState.READY:
        ended = {"detail": "stopped by its owner", "decided_by": "owner"}
        move_node(write, node_id, NodeState.READY, NodeEvent.LEFT, **ended)


def _revoke(write: Write, rules: Rules, node_id: str, ending: str, reason: str) -> tuple[str, ...]:
    """Returns the other nodes of its invitation."""
    siblings = end_invitations(write, node_id)
    had_access = end_keys(write, node_id, ending)
    try:
        node_row(write.connection, node_id)
    except NotFound:
        if had_access:  # and never joined
            return siblings
        raise
    end_held(write, rules, node_id, BatchEvent.RELEASED)
    state = NodeState(node_row(write.connection, node_id).state)
    decision = _decision(ending, "operator", reason)
    # Nothing is left to test: who has the name later has another key.
    over = {"drained": decision, "broker_digest": "", "distrusted_at": None}
    move_node(
        write,
        node_id,
        state,
        NodeEvent.REVOKED,
        detail=decision,
        reason=decision,
        decided_by="operator",
        **over,
    )
    return siblings


def _test_or_confine(write: Write, rules: Rules, node: Row[Any], who: Who) -> None:
    """A paused node that is not trusted is tested; its owner cannot shorten its quarantine."""
    if who == "operator" or write.now >= node.distrusted_at + rules.timing.quarantine_s:
        trust.begin_test(write, node)
        return
    detail = f"its quarantine goes on; a self-test follows after {rules.timing.quarantine_s:.0f} s"
    move_node(write, node.id, NodeState.PAUSED, NodeEvent.CONFINED, detail=detail, decided_by=node.decided_by)


def _join(write: Write, rules: Rules, join: Join, broker_digest: str) -> JoinedNode:
    lanes, closed = _served(write, rules, join)
    card = _credible(card_of(join.card.model_dump()))
    facts = {
        "owner": join.owner,
        "process": join.process,
        "terms": join.terms,
        "card": join.card.model_dump(mode="json") | {"watts": card.watts},
        "vram_class": card.vram_class,
        "lanes": list(join.lanes),
        **_offered(join),
        "sfw_only": join.sfw_only,
        "versions": join.versions,
        "doing": "",
        "loaded_model": None,
        "loaded_loras": [],
        "seen_at": write.now,
        "told_idle_s": 0.0,
        "told_idle_joules": 0.0,
        "joined_at": write.now,
        "broker_digest": broker_digest if is_own(join.terms) else "",
    }
    before = write.connection.execute(select(nodes).where(nodes.c.id == join.name)).one_or_none()
    if before is None:
        incarnation = 1
        new = {"id": join.name, "state": NodeState.READY.value, "incarnation": incarnation}
        write.connection.execute(insert(nodes), [facts | new])
        write.touch(join.name)
    else:
        _must_own_name(before, join)
        incarnation = before.incarnation + 1
        _begin_again(write, rules, before, facts | {"incarnation": incarnation})
    _confine_barred(write, join)
    _look_again(write, card, rules)
    return JoinedNode(
        node_id=join.name,
        incarnation=incarnation,
        vram_class=card.vram_class,
        lanes=lanes,
        closed_lanes=closed,
        owner=join.owner,
        terms=join.terms,
    )


def _served(write: Write, rules: Rules, join: Join) -> tuple[tuple[str, ...], dict[str, str]]:
    """The lanes whose prompts the node may see, and why not those of the others.

    Raises Forbidden if it may see none.
    """
    level = level_of(join.terms, write.backlog.standings.get(join.owner))
    viewer = Viewer(join.owner, level, join.sfw_only)
    lanes, closed = rules.lanes.served(join.lanes, viewer), rules.lanes.closed(join.lanes, viewer)
    if join.lanes and not lanes:
        name = join.lanes[0]
        allows = "its owner may write `sfw_only: false` in owner.yaml, " if join.sfw_only else ""
        raise Forbidden(
            f"lane {name} is closed to node {join.name} of {join.owner} ({join.terms}): {closed[name]}. It "
            f"has no other lane: {allows}the operator of the farm may give it one, or change `lanes` in the "
            "settings"
        )
    return lanes, closed


def _confine_barred(write: Write, join: Join) -> None:
    """Nodes of an owner that is barred are in quarantine, under whatever names they join."""
    standing = standings_of(write.connection, [join.owner]).get(join.owner)
    if join.terms == "volunteer" and standing is not None and standing.barred:
        node = node_row(write.connection, join.name)
        if node.state != NodeState.OFFLINE:
            # Memory may not know the node yet.
            write.changes.append(NodesChanged(members(write.connection, write.lanes, [join.name])))
            trust.quarantine(write, node, standing.barred, "farm")


def _credible(card: Card) -> Card:
    """The card with no more declared watts than such a card draws."""
    return card if card.watts is None else replace(card, watts=min(card.watts, most_joules(card, 1.0)))


def _offered(offer: Holdings) -> dict[str, Any]:
    return {
        "models": list(offer.models),
        "loras": list(offer.loras),
        "missing_recipes": offer.missing_recipes,
        "aside": offer.aside,
        "fetches": list(offer.fetches),
        "fetch_s": offer.fetch_s,
    }


def _must_own_name(before: Row[Any], join: Join) -> None:
    """Only the last process keeps a name; two that rejoin in turn would end each other's batches forever."""
    if join.again and join.process != before.process:
        raise Conflict(f"another process has joined as {join.name}: give every node a unique name (--name)")


def _begin_again(write: Write, rules: Rules, before: Row[Any], facts: dict[str, Any]) -> None:
    end_held(write, rules, before.id, BatchEvent.VANISHED)
    node = node_row(write.connection, before.id)
    state = NodeState(node.state)
    drained = state in (NodeState.OFFLINE, NodeState.FORGOTTEN) and node.drained
    move_node(write, before.id, state, NodeEvent.HELD if drained else NodeEvent.JOINED, **facts)
    write.touch(before.id)
    doubt_node(write, rules, before.id)


def _look_again(write: Write, card: Card, rules: Rules) -> None:
    """Let unschedulable shots wait again if this card can render them.

    For a shot that ran out of memory, the measured peak must fit as well as the predicted one.
    """
    stuck = shots.c.state == plain(ShotState.UNSCHEDULABLE)
    largest = select(func.max(attempts.c.peak_bytes)).where(attempts.c.shot_id == shots.c.id)
    measured = func.coalesce(largest.scalar_subquery(), 0)
    keys = write.connection.scalars(select(shots.c.work_key).where(stuck).distinct()).all()
    for key, work in samples(write.connection, keys).items():
        if not isinstance(rules.place(work.shot, card, write.backlog.seen(card, key, work)), str):
            enough = shots.c.min_class <= card.vram_class, measured < peak_limit(card)
            fitting = select(shots.c.id).where(stuck, shots.c.work_key == key, *enough)
            ids = write.connection.scalars(fitting).all()
            facts: dict[str, Any] = {"min_class": card.vram_class, "failure": "", "reason": ""}
            move_shots(write, ids, ShotState.UNSCHEDULABLE, ShotEvent.FITS, **facts)


def _must_be_gone(node: Row[Any], since: float) -> None:
    """Raises Conflict for a node that has an order to fulfil, or was drained and has called `since`."""
    if node.state not in GONE:
        raise Conflict(
            f"node {node.id} is {node.state}; it can be forgotten once it is offline or lost: stop it, or "
            f"`farm node drain {node.id}`"
        )
    if node.state == NodeState.OFFLINE and node.decided_by != "owner" and node.seen_at >= since:
        raise Conflict(f"node {node.id} is drained but still runs, and would join again: stop it first")


def _decision(done: str, who: str, reason: str) -> str:
    return f"{done} by {_NAMES[who]}" + (f": {reason}" if reason else "")


def _must_be_theirs(node: Row[Any], who: Who) -> None:
    """Raises Conflict if the pause was set by someone else."""
    if node.decided_by == who:
        return
    if who == "operator":
        raise Conflict(
            f"node {node.id} is {node.reason}; only its owner can resume it, with `farm-node resume`"
        )
    raise Conflict(f"node {node.id} is {node.reason}; ask the operator for `farm node resume {node.id}`")
