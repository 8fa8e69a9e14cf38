"""Identities of nodes: which key is whose, and what its invitation granted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, select, update

from common.access_messages import NewInvitation
from common.errors import Conflict, FarmError, Forbidden, NotFound, Unauthorised
from common.messages import Join
from common.states import NodeState
from coordinator.ledger.records import Act
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import identities, invitations, nodes
from coordinator.ledger.transactions import Transactions, Write


class Introduction(NamedTuple):
    """A node that has proved to have a key, and an invitation if it shows one."""

    node: str
    public_key: str
    #: Public key of the invitation; None: it shows none.
    invitation: str | None = None
    #: Whether it is the farm's own: its nodes say themselves what they are.
    owned: bool = False


@dataclass(frozen=True, slots=True)
class Identities:
    """Keys of nodes, and invitations."""

    transactions: Transactions
    rules: Rules

    def admit(self, one: Introduction) -> bool:
        """Let a node have access by its key, which becomes that of its name at first.

        Returns whether another key of the name ended by it. Raises Forbidden for a key or an invitation that
        is not valid for it, Unauthorised without a known one, Conflict if another key has the name.
        """
        with self.transactions.read() as connection:
            if _is_known(connection, one):
                return False
        with self.transactions.write() as write:
            return not _is_known(write.connection, one) and _bind(write, self.rules, one)

    def invite(self, new: NewInvitation, public_key: str, *, act: Act | None = None) -> None:
        """Let nodes join that prove to have the secret of an invitation."""
        with self.transactions.write(act) as write:
            row = new.model_dump(mode="json", include={"name", "owner", "lanes", "terms"}) | {
                "public_key": public_key,
                "uses_left": new.uses,
                "created_at": write.now,
                "created_by": act.by if act else "",
                "expires_at": write.now + new.valid_s,
            }
            write.connection.execute(insert(invitations), [row])

    def rotate(self, node_id: str, public_key: str) -> None:
        """Replace the key of a node; the old one is never valid again.

        Raises NotFound for a node without one, Conflict for a new one that is or was in use.
        """
        with self.transactions.write() as write:
            known = _valid_identity(write.connection, node_id)
            if known is None:
                raise NotFound(f"node {node_id} has no key to replace")
            if known.public_key == public_key:
                return
            taken = select(identities.c.node).where(identities.c.public_key == public_key)
            if write.connection.scalar(taken) is not None:
                raise Conflict("this key is or was in use: make a new one")
            _end(write, known.public_key, "rotated")
            same = {name: getattr(known, name) for name in ("node", "invitation", "owner", "lanes", "terms")}
            new = {"public_key": public_key, "created_at": write.now}
            write.connection.execute(insert(identities), [same | new])


def _is_known(connection: Connection, one: Introduction) -> bool:
    """Whether the key is valid for this node. Raises Forbidden for a key that is not, for any."""
    row = connection.execute(
        select(identities).where(identities.c.public_key == one.public_key)
    ).one_or_none()
    if row is None:
        return False
    if row.ended_at is not None:
        raise _ended(row)
    if row.node != one.node:
        raise Forbidden(
            f"this key is that of node {row.node}, not of {one.node}: a node has one name (--name), "
            "and a second node of a machine its own --home"
        )
    return True


def _bind(write: Write, rules: Rules, one: Introduction) -> bool:
    """Let a new key be that of a node; returns whether it replaces another one."""
    invitation = None if one.owned else _use(write, one)
    by_name = invitation is None or invitation.name is not None
    replaces = _free_name(write, rules, one, by_name=by_name)
    granted = {
        name: None if invitation is None else getattr(invitation, name)
        for name in ("owner", "lanes", "terms")
    }
    row = {"public_key": one.public_key, "node": one.node, "created_at": write.now, **granted}
    row["invitation"] = None if invitation is None else invitation.public_key
    write.connection.execute(insert(identities), [row])
    return replaces


def _use(write: Write, one: Introduction) -> Row[Any]:
    """Use an invitation once. Raises Unauthorised or Forbidden."""
    if one.invitation is None:
        raise Unauthorised(
            f"the farm does not know the key of node {one.node}: start it once with --invite, and the line "
            "that `farm node invite` prints, or with --key and the node key of the farm"
        )
    found = invitations.c.public_key == one.invitation
    row = write.connection.execute(select(invitations).where(found)).one_or_none()
    again = "ask the operator for another (`farm node invite`)"
    if row is None:
        raise Unauthorised(f"the farm does not know this invitation: {again}")
    if row.expires_at <= write.now:
        raise Forbidden(f"this invitation has expired: {again}")
    if row.uses_left < 1:
        raise Forbidden(f"this invitation has been used: {again}")
    if row.name not in (None, one.node):
        raise Forbidden(f"this invitation is for node {row.name}, not for {one.node}: leave --name out")
    write.connection.execute(update(invitations).where(found).values(uses_left=row.uses_left - 1))
    return row


def _free_name(write: Write, rules: Rules, one: Introduction, *, by_name: bool) -> bool:
    """Let the name be that of a new key; returns whether the key that it had ends. Raises Conflict or
    Forbidden if another key has it.

    Only an owned node may lose its key, as a machine that is set up anew does, and not while it lives.
    `by_name`: whether the operator has said which node it is.
    """
    rows = write.connection.execute(select(identities).where(identities.c.node == one.node)).all()
    seen = write.connection.execute(
        select(nodes.c.seen_at, nodes.c.state).where(nodes.c.id == one.node)
    ).one_or_none()
    for row in rows:
        if row.ending == "revoked":
            raise Forbidden(
                f"node {one.node} was revoked by the operator: choose another name (--name), "
                f"or let the operator free this one with `farm node remove {one.node}`"
            )
        if row.ended_at is None:
            _replace(write, rules, one, row, None if seen is None else seen.seen_at)
    removed = seen is not None and seen.state == NodeState.FORGOTTEN
    if removed and any(row.ending == "removed" for row in rows):
        fresh = {"drained": "", "record": ""}
        write.connection.execute(update(nodes).where(nodes.c.id == one.node).values(**fresh))
    elif seen is not None and not by_name:
        raise Conflict(
            f"there is or was a node {one.node}: choose another name (--name), "
            f"or let the operator run `farm node invite --name {one.node}`"
        )
    return any(row.ended_at is None for row in rows)


def _replace(write: Write, rules: Rules, one: Introduction, known: Row[Any], seen_at: float | None) -> None:
    lease_s = rules.timing.lease_s
    if not one.owned or known.invitation is not None:
        raise Conflict(
            f"node {one.node} has another key: choose another name (--name), or, if its key is lost, "
            f"let the operator run `farm node remove {one.node}`"
        )
    if seen_at is not None and seen_at > write.now - lease_s:
        raise Conflict(
            f"node {one.node} has another key, and lives: choose another name (--name); if its key is lost, "
            f"it may have another one {lease_s:.0f} s after its last heartbeat"
        )
    _end(write, known.public_key, "replaced")


def _ended(row: Row[Any]) -> FarmError:
    if row.ending == "rotated":
        return Forbidden(f"this key of node {row.node} was replaced by `farm-node rotate`")
    if row.ending == "left":
        return Forbidden(
            f"node {row.node} has left the farm by this key: make a new one with `farm-node leave`"
        )
    if row.ending == "replaced":
        return Forbidden(f"another machine has joined as {row.node}: give every node its own name (--name)")
    return Forbidden(
        f"node {row.node} was {row.ending} by the operator of the farm: to join again, it needs a new key "
        "(`farm-node leave` deletes this one) and another invitation"
    )


def _end(write: Write, public_key: str, ending: str) -> None:
    which = update(identities).where(identities.c.public_key == public_key)
    write.connection.execute(which.values(ended_at=write.now, ending=ending))


def end_invitations(write: Write, node_id: str) -> tuple[str, ...]:
    """Let nobody else join by an invitation by which a node joined.

    Returns the names of the nodes that joined by it, too, and have a key that is valid.
    """
    # Who had the name before it was removed may be another.
    mine = identities.c.node == node_id, identities.c.ending != "removed"
    shown = select(identities.c.invitation).where(*mine, identities.c.invitation.is_not(None))
    ended = update(invitations).where(invitations.c.public_key.in_(shown), invitations.c.uses_left > 0)
    write.connection.execute(ended.values(uses_left=0))
    others = identities.c.node != node_id, identities.c.ended_at.is_(None), identities.c.invitation.in_(shown)
    return tuple(write.connection.scalars(select(identities.c.node).where(*others).order_by("node")))


def end_keys(write: Write, node_id: str, ending: str) -> bool:
    """End the key of a node for good; `removed` frees the name of a revoked one, too.

    Returns whether it ever had one. Raises Conflict if it is revoked already.
    """
    rows = write.connection.execute(select(identities).where(identities.c.node == node_id)).all()
    if ending == "revoked" and any(row.ending == "revoked" for row in rows):
        raise Conflict(f"node {node_id} is revoked already; `farm node remove {node_id}` frees its name")
    for row in rows:
        if row.ended_at is None or (row.ending == "revoked" and ending == "removed"):
            _end(write, row.public_key, ending)
    return bool(rows)


def must_be_valid(connection: Connection, node_id: str) -> None:
    """Raises Conflict for a node that was revoked or removed."""
    if _valid_identity(connection, node_id) is None and _had_key(connection, node_id):
        raise Conflict(f"node {node_id} was revoked: invite it again after `farm node remove {node_id}`")


def _valid_identity(connection: Connection, node_id: str) -> Row[Any] | None:
    """The identity by which a node may call now."""
    valid = identities.c.node == node_id, identities.c.ended_at.is_(None)
    return connection.execute(select(identities).where(*valid)).one_or_none()


def _had_key(connection: Connection, node_id: str) -> bool:
    any_key = select(identities.c.public_key).where(identities.c.node == node_id).limit(1)
    return connection.scalar(any_key) is not None


def as_granted(connection: Connection, join: Join, owned_lanes: Collection[str] | None) -> Join:
    """What a node is: as its invitation says, or as an owned node says, which may serve `owned_lanes`.

    None: all, on a farm without keys, which alone lets in who never had one. Raises Forbidden for other
    lanes, and without a valid key: it may have ended since the call was let in.
    """
    known = _valid_identity(connection, join.name)
    if known is None and (owned_lanes is not None or _had_key(connection, join.name)):
        raise Forbidden(f"node {join.name} has no key that is valid: let it join by an invitation")
    if known is not None and known.lanes is not None:
        granted = {"owner": known.owner, "lanes": tuple(known.lanes), "terms": known.terms}
        return join.model_copy(update=granted)
    if owned_lanes is not None and (others := set(join.lanes) - set(owned_lanes)):
        raise Forbidden(
            f"lane {min(others)} is not among the lanes that nodes with the node key of the farm may serve "
            f"({', '.join(owned_lanes)}): add it to `node_lanes` in the settings of the farm, "
            f"or let the operator run `farm node invite --lane {min(others)}`"
        )
    return join
