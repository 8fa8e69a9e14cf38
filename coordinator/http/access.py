"""Who may call what: bearer keys, one a role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Request, params
from pydantic import SecretStr

from common.errors import Forbidden, Unauthorised
from common.keys import same_key
from common.settings import Keys
from coordinator.farm import Farm

Role = Literal["operator", "node", "ingest"]


async def _farm(request: Request) -> Farm:
    farm: Farm = request.app.state.farm
    return farm


#: The farm that a route acts on.
TheFarm = Annotated[Farm, Depends(_farm)]


async def _role(request: Request) -> Role | None:
    role: Role | None = request.state.role
    return role


#: Whose key the caller showed; None where no key is configured at all.
TheRole = Annotated[Role | None, Depends(_role)]


def configured(keys: Keys) -> dict[Role, str]:
    """The keys by role; empty when none is set."""
    given: dict[Role, SecretStr | None] = {
        "operator": keys.operator,
        "node": keys.node,
        "ingest": keys.ingest,
    }
    return {role: text for role, key in given.items() if key and (text := key.get_secret_value())}


@dataclass(frozen=True, slots=True)
class Allowed:
    """A dependency that lets only some roles in; everyone, where no key is configured at all.

    Raises Unauthorised without a known key, Forbidden with a key of another role.
    """

    roles: tuple[Role, ...]

    async def __call__(self, request: Request) -> None:
        request.state.role = None
        keys: dict[Role, str] = request.app.state.keys
        if not keys:
            return
        scheme, _, offered = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not offered:
            raise Unauthorised("a key is required: send `Authorization: Bearer KEY`")
        role = next((role for role, key in keys.items() if same_key(key, offered.strip())), None)
        if role is None:
            raise Unauthorised(
                "unknown key: compare it with `keys` in the settings of the farm, "
                "or with the files in the `keys` folder of its home"
            )
        if role not in self.roles:
            wanted = " or ".join(self.roles)
            raise Forbidden(f"the {role} key does not allow this; use the {wanted} key")
        request.state.role = role


def allow(*roles: Role) -> params.Depends:
    """What a route or router lists among its dependencies."""
    return params.Depends(Allowed(roles))
