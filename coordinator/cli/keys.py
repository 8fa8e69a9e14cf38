"""`farm keys`: keys for people and programs, with owner, scopes and limits; and `farm whoami`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from common.commandline import CommandGroup, add_commands
from common.errors import NotFound
from common.key_messages import (
    IssuedKey,
    KeyLimits,
    KeyView,
    NewKey,
    Rotation,
    budget_text,
    grantable,
    key_name,
    lane_name,
    quota_text,
    rate_text,
)
from common.scopes import GRANTABLE, Scope, with_included
from common.wording import suggestion
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.options import duration, parsed
from coordinator.cli.show import err, money, out, print_answer, print_json, print_list, table

_T = TypeVar("_T")

keys_app = typer.Typer(
    cls=CommandGroup,
    help="Give people and programs keys of their own: create, list, limit, rotate, revoke.",
    no_args_is_help=True,
)


def _scopes(given: str) -> tuple[Scope, ...]:
    return tuple(grantable(word.strip()) for word in given.split(","))


def _or_none(parse: Callable[[str], _T]) -> Callable[[str], _T | str]:
    """As `parse`, and `none` for no limit."""
    return lambda given: given if given == "none" else parse(given)


def _limit(flag: str, parse: Callable[[str], str], what: str) -> Any:
    """An option for an amount per period; None if it is not given."""
    return typer.Option(flag, metavar="N/PERIOD", parser=parsed(_or_none(parse)), help=what)


Lanes = Annotated[
    list[str] | None,
    typer.Option(
        "--lane",
        metavar="LANE",
        parser=parsed(lane_name),
        help="Lane that its jobs may use; repeat it for several. Default: `public`, and every lane with "
        "the scope `operate` or `admin`.",
    ),
]
Quota = Annotated[
    Any,
    _limit(
        "--quota", quota_text, "Images that are not stored yet, such as `2000/day`, per day, week or month."
    ),
]
MaxCost = Annotated[
    Any, _limit("--max-cost", budget_text, "Cost of its jobs, such as `20/month`, per day, week or month.")
]
MaxPriority = Annotated[
    int | None,
    typer.Option(
        "--max-priority",
        metavar="N",
        min=0,
        max=100,
        help="Highest priority of its jobs. Default: 50, and 100 with the scope `operate` or `admin`.",
    ),
]
Rate = Annotated[Any, _limit("--rate", rate_text, "Calls, such as `50/second`, per second, minute or hour.")]
Expires = Annotated[
    Any,
    typer.Option(
        "--expires",
        metavar="TIME",
        parser=parsed(duration),
        help="The key is valid for days, hours or minutes: `90d`.",
    ),
]
Name = Annotated[
    str,
    typer.Argument(metavar="NAME", parser=options.word, help="Name of the key; `farm keys list` lists them."),
]


NewName = Annotated[
    str,
    typer.Argument(metavar="NAME", parser=parsed(key_name), help="Name of the key, shown in its place."),
]
Scopes = Annotated[
    Any,
    typer.Option(
        "--scope",
        metavar="SCOPES",
        parser=parsed(_scopes),
        help=f"What it allows, separated by commas: {', '.join(GRANTABLE)}.",
    ),
]
Owner = Annotated[
    str | None,
    options.owner_option(
        "Owner of the jobs that it submits, changes and reads. Default: the name of the key."
    ),
]


def create_command(
    name: NewName,
    scope: Scopes = "submit,read",
    owner: Owner = None,
    lane: Lanes = None,
    quota: Quota = None,
    max_cost: MaxCost = None,
    max_priority: MaxPriority = None,
    rate: Rate = None,
    expires: Expires = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Create a key and print it, this once: the farm keeps only its hash.

    Whoever has it sets `public_url` and `key` in a farm.yaml of their own, or FARM_PUBLIC_URL and FARM_KEY.

    Example: `farm keys create ana --owner studio --lane studio --quota 2000/day --max-cost 20/month`
    """
    everywhere = bool({"operate", "admin"} & with_included(scope))
    limits = KeyLimits(lanes=None if everywhere else ("public",), max_priority=100 if everywhere else 50)
    limits = _changed(limits, lane, quota, max_cost, max_priority, rate)
    new = NewKey(name=name, owner=owner or name, scopes=scope, valid_s=expires, **dict(limits))
    with connect(settings) as client:
        _print_issued(client.create_key(new), as_json)


def limit_command(
    name: Name,
    lane: Lanes = None,
    quota: Quota = None,
    max_cost: MaxCost = None,
    max_priority: MaxPriority = None,
    rate: Rate = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Change limits of a key; `none` ends one. What is not given stays. Jobs that it submitted keep theirs.

    Example: `farm keys limit ana --quota none --max-cost 40/month`
    """
    with connect(settings) as client:
        known = {key.name: key for key in client.created_keys()}
        if name not in known:
            raise NotFound(f"no key {name}{suggestion(name, known)}")
        present = KeyLimits.model_construct(
            **{field: getattr(known[name], field) for field in KeyLimits.model_fields}
        )
        key = client.limit_key(name, _changed(present, lane, quota, max_cost, max_priority, rate))
    print_answer(key, _words(key), as_json)


def _changed(
    limits: KeyLimits,
    lanes: list[str] | None,
    quota: str | None,
    max_cost: str | None,
    max_priority: int | None,
    rate: str | None,
) -> KeyLimits:
    """The limits with those that are given."""
    amounts = {"quota": quota, "max_cost": max_cost, "rate": rate}
    changes: dict[str, Any] = {
        name: None if amount == "none" else amount for name, amount in amounts.items() if amount is not None
    }
    if lanes:
        changes["lanes"] = tuple(lanes)
    if max_priority is not None:
        changes["max_priority"] = max_priority
    return limits.model_copy(update=changes)


def list_command(settings: options.SettingsFile = None, as_json: options.AsJson = False) -> None:
    """List the created keys, newest first, without their secrets.

    `id` is the beginning of the SHA-256 of a key, which tells whose key was found somewhere.

    Example: `farm keys list --json`
    """
    with connect(settings) as client:
        none = "no keys yet besides those of the settings; create one with `farm keys create NAME`"
        print_list(client.created_keys(), _keys_table, none, as_json)


def rotate_command(
    name: Name,
    grace: Annotated[
        Any,
        typer.Option(
            "--grace",
            metavar="TIME",
            parser=parsed(duration),
            help="Keep the old key valid for days, hours or minutes: `1d`. Default: it ends at once.",
        ),
    ] = None,
    expires: Expires = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Replace a key by a new one with the same rights, and print it, this once.

    Example: `farm keys rotate ana --grace 1d`
    """
    with connect(settings) as client:
        _print_issued(client.rotate_key(name, Rotation(grace_s=grace or 0.0, valid_s=expires)), as_json)


def revoke_command(
    name: Name, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """End a key at once and for good. Its jobs continue.

    Example: `farm keys revoke ana`
    """
    with connect(settings) as client:
        revoked = client.revoke_key(name)
    words = f"key {revoked.name} of {revoked.owner} is revoked; its jobs continue"
    print_answer(revoked, words, as_json)


add_commands(
    keys_app,
    {
        "create": create_command,
        "list": list_command,
        "limit": limit_command,
        "rotate": rotate_command,
        "revoke": revoke_command,
    },
)


def whoami_command(settings: options.SettingsFile = None, as_json: options.AsJson = False) -> None:
    """Show the key that commands use here: its owner, and what it allows.

    Example: `farm whoami`
    """
    with connect(settings) as client:
        key = client.whoami()
    print_answer(key, _words(key), as_json)


def _print_issued(issued: IssuedKey, as_json: bool) -> None:
    if as_json:
        print_json(issued)
        return
    err.say(_words(issued))
    if issued.old_until is not None and issued.old_until > time.time():
        err.say(f"the old key is valid until {_time(issued.old_until)}")
    err.say("keep it now, it is not shown again:", style="yellow")
    out.print(issued.key)


def _words(key: KeyView) -> str:
    """What a key allows, in one line."""
    of = f" of {key.owner}" if key.owner else ""
    ends = f"; until {_time(key.expires_at)}" if key.expires_at is not None else ""
    return f"key {key.name}{of}: {', '.join(key.scopes)}; {_limits(key)}{ends}"


def _limits(key: KeyView) -> str:
    lanes = "every lane" if key.lanes is None else f"lane {', '.join(key.lanes)}"
    parts = [lanes, f"priority up to {key.max_priority}"]
    if key.quota is not None:
        parts.append(f"{key.used_images:,} of {key.quota.replace('/', ' images per ')}")
    if key.max_cost is not None:
        limit = key.max_cost.replace("/", f" {key.currency} per ")
        parts.append(f"{money(key.used_cost, key.currency)} of {limit}")
    if key.rate is not None:
        parts.append(key.rate.replace("/", " calls per "))
    return "; ".join(parts)


def _keys_table(keys: Sequence[KeyView]) -> Table:
    rows = [
        (key.name, key.id, key.owner, ", ".join(key.scopes), _limits(key), _time(key.created_at), _state(key))
        for key in keys
    ]
    return table("key", "id", "owner", "scopes", "limits", "created", "", rows=rows)


def _state(key: KeyView) -> str:
    if key.revoked_at is not None:
        return f"revoked {_time(key.revoked_at)}"
    ends = [f"until {_time(key.expires_at)}"] if key.expires_at is not None else []
    if key.old_until is not None and key.old_until > time.time():
        ends.append(f"old key until {_time(key.old_until)}")
    return "; ".join(ends)


def _time(at: float | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"
