"""The gateway lets calls of nodes through, and no other call of the API."""

from __future__ import annotations

import re

import pytest
from fastapi.routing import APIRoute

from common.errors import NotFound
from coordinator.gateway.allowed_calls import ALLOWED_CALLS, allowed_call
from coordinator.http.access import Allowed
from coordinator.http.app import ROUTES

ROUTED = [route for routes in ROUTES for route in routes.router.routes if isinstance(route, APIRoute)]
#: Calls by which a node gets access, and of the gateway's users that come before it.
BEFORE_ACCESS = {"/v1/access/challenges", "/v1/access", "/healthz", "/join", "/join.ps1", "/join/{name}"}
#: What nodes may call and need not: they have no tickets, the gateway asks for itself, people read the rest.
NEEDLESS = {"/v1/claims", "GET /v1/access", "/v1/models", "/v1/key", "/v1/ping"}


def calls(route: APIRoute) -> list[str]:
    return [f"{method} {route.path}" for method in route.methods]


def is_for_nodes(route: APIRoute, call: str) -> bool:
    if {call, route.path} & NEEDLESS:
        return False
    scopes = {scope for one in route.dependencies if isinstance(one.dependency, Allowed)
              for scope in one.dependency.scopes}  # fmt: skip
    return bool(scopes & {"node", "join"}) or route.path in BEFORE_ACCESS


def test_every_call_of_a_node_comes_in_and_no_other_call_of_the_api() -> None:
    assert len(ROUTED) > 60
    for route in ROUTED:
        for call in calls(route):
            method, path = call.split()
            sent = re.sub(r"\{[^}]*\}", "some-1", path).encode()
            if is_for_nodes(route, call):
                assert allowed_call(method, sent).is_open == (path in BEFORE_ACCESS), call
            else:
                with pytest.raises(NotFound, match="calls of nodes alone"):
                    allowed_call(method, sent)


@pytest.mark.parametrize(
    "path",
    [
        b"/", b"/docs", b"/metrics", b"/v1/jobs", b"/v1/nodes/", b"/v1/nodes/a/beats/../../jobs", b"/store",
        b"/store/", b"/v1/nodes/a%2Fb/beats", b"//v1/nodes", b"/V1/nodes", b"/v1/nodes/a\nb/beats",
        b"/v1/nodes\n", b"http://farm/v1/nodes", b"/storebucket/key", b"/v1/catalog/store/x",
        b"/join/", b"/join/a/b", b"/join/%2e%2e", b"/joined",
    ],
)  # fmt: skip
def test_paths_that_only_look_like_those_of_nodes_stay_outside(path: bytes) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        with pytest.raises(NotFound):
            allowed_call(method, path)


def test_only_uploads_and_lists_of_holdings_are_large() -> None:
    large = {(allowed.method, allowed.path.pattern) for allowed in ALLOWED_CALLS if allowed.most > 64 * 2**10}
    assert large == {
        ("PUT", rb"/store/.+"),
        ("POST", rb"/v1/nodes"),
        ("POST", rb"/v1/nodes/[A-Za-z0-9._-]+/holdings"),
    }
