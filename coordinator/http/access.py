"""Who may call what: each route declares the scopes of the keys that open it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Query, Request, params
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from common.errors import Forbidden, NotFound
from common.keys import token_holder
from common.scopes import Bounds, Caller, Scope
from coordinator.farm import Farm
from coordinator.ledger import Act
from coordinator.node_access import TOKEN_PREFIX


async def _farm(request: Request) -> Farm:
    farm: Farm = request.app.state.farm
    return farm


#: The farm that a route acts on.
TheFarm = Annotated[Farm, Depends(_farm)]


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


#: Who calls.
TheCaller = Annotated[Caller, Depends(_caller)]


async def _bounds(request: Request) -> Bounds | None:
    bounds: Bounds | None = request.state.bounds
    return bounds


#: What the call is limited to; None: nothing.
TheBounds = Annotated[Bounds | None, Depends(_bounds)]


async def _owner(bounds: TheBounds) -> str | None:
    return None if bounds is None else bounds.owner


#: To whose jobs and shots the call is limited; None: to nobody's.
TheOwner = Annotated[str | None, Depends(_owner)]


def check_job(job_id: str, farm: Farm, owner: str | None) -> None:
    """Raises NotFound for a job of somebody else than `owner` (None: anybody), as if it did not exist."""
    if owner is not None and farm.job_owner(job_id) != owner:
        raise NotFound(f"no job {job_id}; `farm jobs` lists them")


async def _check_job(job_id: str, farm: Farm, owner: str | None) -> None:
    if owner is not None:
        await farm.threads.reads.run(check_job, job_id, farm, owner)


async def _job_id(job_id: str, farm: TheFarm, owner: TheOwner) -> str:
    await _check_job(job_id, farm, owner)
    return job_id


async def _only_job(farm: TheFarm, owner: TheOwner, job: Annotated[str | None, Query()] = None) -> str | None:
    if job is not None:
        await _check_job(job, farm, owner)
    return job


#: The job in the address of a route, or in the parameter `job`, that the caller may act on.
JobId = Annotated[str, Depends(_job_id)]
OnlyJob = Annotated[str | None, Depends(_only_job)]


def must_be(caller: Caller, node_id: str) -> None:
    """Raises Forbidden if another node calls. Whoever calls a farm without keys may speak for all."""
    if caller.node not in (None, node_id):
        raise Forbidden(f"node {caller.node} cannot act as node {node_id}")


def must_hold(caller: Caller, batch_id: str, token: str) -> None:
    """Raises Forbidden if the token of a batch is that of another node than the caller."""
    holder = token_holder(token)
    if holder is not None and caller.node not in (None, holder):
        raise Forbidden(f"batch {batch_id} is leased to node {holder}, not to node {caller.node}")


_BEARER = HTTPBearer(description="A key from `farm keys create`, or of the settings of the farm")
#: Verbs of routes whose address ends without one.
_VERBS = {"POST": "create", "DELETE": "remove"}


async def _act(request: Request, caller: TheCaller) -> Act:
    """`POST /v1/jobs/{job_id}/cancel` is the action `job cancel` on that job."""
    noun, *rest = request.scope["route"].path.partition("/v1/")[2].split("/")
    verb = rest[-1] if rest and "{" not in rest[-1] else _VERBS[request.method]
    job = request.query_params.get("job")
    return Act(
        by=caller.name,
        owner=caller.owner or "",
        action=f"{noun.removesuffix('s')} {verb}",
        subject=next(iter(request.path_params.values()), ""),
        detail=f"for job {job}" if job else "",
    )


#: What the call changes, for the audit log.
TheAct = Annotated[Act, Depends(_act)]


@dataclass(frozen=True, slots=True)
class Allowed(SecurityBase):
    """A dependency that lets in keys with any of these scopes.

    With the scope `own`, a key is let in as well, limited to what belongs to its owner. Raises Unauthorised
    without a valid key, Forbidden without a scope, TooMany beyond the rate of the key.
    """

    scopes: tuple[Scope, ...]
    own: Scope | None = None
    #: In the OpenAPI document.
    model: HTTPBearer = field(default_factory=lambda: _BEARER, init=False, compare=False)
    scheme_name: str = field(default="key", init=False)

    async def __call__(self, request: Request) -> None:
        farm: Farm = request.app.state.farm
        authorization = request.headers.get("authorization", "")
        token = authorization.partition(" ")[2].strip()
        if token.startswith(TOKEN_PREFIX):
            caller = farm.node_access.caller(token)
        else:
            address = request.client.host if request.client else ""
            caller = farm.keyring.caller(authorization, address)
        request.state.caller, request.state.bounds = caller, self.bounds(caller)

    def bounds(self, caller: Caller) -> Bounds | None:
        """What calls of the caller are limited to; None: nothing. Raises Forbidden without a scope."""
        if caller.allows(self.scopes):
            return None
        if caller.owner is not None and self.own in caller.scopes:
            return Bounds(caller.owner, caller.lanes)
        wanted = " or ".join(self.scopes if self.own is None else (self.own, *self.scopes))
        raise Forbidden(
            f"the {caller.name} key does not allow this: it needs the scope {wanted} "
            "(`farm whoami` shows what it allows)"
        )


def allow(*scopes: Scope, own: Scope | None = None) -> params.Depends:
    """What a route or router lists among its dependencies."""
    return params.Depends(Allowed(scopes, own))


READS, STEERS = Allowed(("read-all",), "read"), Allowed(("operate",), "submit")
#: Routes that show jobs, nodes and images: of all owners, or of that of the key.
READING = params.Depends(READS)
#: Routes that change jobs and images.
STEERING = params.Depends(STEERS)
