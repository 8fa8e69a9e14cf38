"""Messages by which nodes prove who they are, and by which operators invite them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from common.messages import Message, Name, Seconds
from common.nodes import Terms
from common.proper_names import owner_name

#: Of Ed25519, as hexadecimal digits.
PublicKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
#: A day.
LONGEST_INVITATION_S = 86_400


class Challenge(Message):
    """POST /v1/access/challenges: what a node has to sign; valid once, and for a minute."""

    challenge: Annotated[str, Field(max_length=200)]


class InvitationProof(Message):
    """The public key of an invitation, and its signature of the same text."""

    public_key: PublicKey
    signature: Signature


class AccessRequest(Challenge):
    """POST /v1/access: prove to be a node (`common.node_keys.access_text`)."""

    node: Name
    public_key: PublicKey
    signature: Signature
    #: Where the farm does not know the key yet.
    invitation: InvitationProof | None = None


class Access(Message):
    """A bearer token for the calls of one node."""

    node: Name
    token: str
    valid_s: Seconds


class Admission(Message):
    """GET /v1/access: the node that an access token belongs to."""

    node: Name
    #: What presigned URLs of the farm's store begin with, as the farm itself reaches it.
    store: str


class KeyRotation(Message):
    """POST /v1/nodes/{id}/key: the next key of a node, and its signature of `rotation_text`."""

    public_key: PublicKey
    signature: Signature


class EndedAccess(Message):
    """A node that may call no more: `revoked` or `removed`."""

    state: str
    #: Nodes that joined by the same invitation and still may call. Nobody else can join by it.
    siblings: tuple[str, ...] = ()


class NewInvitation(Message):
    """POST /v1/invitations: what nodes that join by it are; they cannot say otherwise."""

    #: None: the owner of the node chooses one that is free.
    name: Name | None = None
    owner: Annotated[str, AfterValidator(owner_name)] = "farm"
    lanes: Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)] = ("public",)
    terms: Terms = "volunteer"
    valid_s: Annotated[float, Field(gt=0, le=LONGEST_INVITATION_S)] = 1800.0
    #: Nodes that may join by it.
    uses: Annotated[int, Field(ge=1, le=1000)] = 1

    @model_validator(mode="after")
    def _one_of_a_name(self) -> Self:
        if self.name is not None and self.uses > 1:
            raise ValueError("an invitation for one name has one use; leave `name` out for several nodes")
        return self

    @model_validator(mode="after")
    def _of_a_person_if_a_volunteer(self) -> Self:
        # What images earn belongs to the owner.
        if self.terms == "volunteer" and "owner" not in self.model_fields_set:
            raise ValueError("an invitation of a volunteer names the `owner`, one for all cards of a person")
        return self


class IssuedInvitation(Message):
    """An invitation; the farm keeps no copy of the secret in it."""

    #: One line, for `farm-node run --invite`.
    text: str
    #: What the owner of a card pastes into a terminal of Linux, and into PowerShell; empty where
    #: nodes do not reach the farm by `https://`.
    shell_line: str = ""
    powershell_line: str = ""
    name: str | None
    owner: str
    lanes: tuple[str, ...]
    terms: Terms
    uses: int
    #: Seconds since 1970.
    expires_at: float
