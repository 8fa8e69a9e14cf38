"""`farm webhooks`: addresses that are told when images are stored and jobs end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, get_args

import typer
from rich.table import Table

from common.commandline import CommandGroup, add_commands
from common.errors import Unavailable
from common.units import counted
from common.webhooks import Kind, NewWebhook, WebhookAnswer, WebhookView, webhook_url
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.show import err, out, print_answer, print_json, print_list, table

webhooks_app = typer.Typer(
    cls=CommandGroup,
    help="Post to addresses when images are stored and jobs end: add, list, rm, test.",
    no_args_is_help=True,
)


def _kinds(given: str) -> tuple[Kind, ...]:
    known: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
    words = [word.strip() for word in given.split(",")]
    if unknown := [word for word in words if word not in known]:
        raise typer.BadParameter(f"`{unknown[0]}` is no kind of event; there are {', '.join(known)}")
    return tuple(known[word] for word in words)


def _url(given: str) -> str:
    try:
        return webhook_url(options.text(given))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Webhook = Annotated[
    str,
    typer.Argument(
        metavar="WEBHOOK", parser=options.word, help="ID of the webhook; `farm webhooks list` lists them."
    ),
]


def add_command(
    url: Annotated[str, typer.Argument(metavar="URL", parser=_url, help="Address that is posted to.")],
    events: Annotated[
        Any,
        typer.Option(
            "--events",
            metavar="KINDS",
            parser=_kinds,
            help="`shot`: images stored, shots failed. `job`: jobs that ended. Separated by commas.",
        ),
    ] = "shot,job",
    owner: Annotated[
        str | None,
        options.owner_option("Of whose jobs. Default: of the owner of the key, or of all."),
    ] = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Post to an address what happens from now on, and print the secret of its signatures, this once.

    Example: `farm webhooks add https://example.com/farm --events job`
    """
    with connect(settings) as client:
        added = client.add_webhook(NewWebhook(url=url, events=events, owner=owner))
    if as_json:
        print_json(added)
        return
    err.say(f"webhook {added.id}: {_what(added)} to {added.url}")
    err.say("keep the secret now, it is not shown again:", style="yellow")
    out.print(added.secret)


def list_command(settings: options.SettingsFile = None, as_json: options.AsJson = False) -> None:
    """List webhooks with their last answers, newest first.

    Example: `farm webhooks list`
    """
    with connect(settings) as client:
        none = "no webhooks yet; add one with `farm webhooks add URL`"
        print_list(client.webhooks(), _webhooks_table, none, as_json)


def rm_command(
    webhook: Webhook, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Remove a webhook.

    Example: `farm webhooks rm w-3f9c01aa`
    """
    with connect(settings) as client:
        removed = client.remove_webhook(webhook)
    print_answer(removed, f"webhook {removed.id} to {removed.url} is removed", as_json)


def try_command(
    webhook: Webhook, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Post a message without events now, and show the answer. Exit code 1: the receiver did not take it.

    Example: `farm webhooks test w-3f9c01aa`
    """
    with connect(settings) as client:
        answer = client.test_webhook(webhook)
    if as_json:
        print_json(answer)
    elif answer.is_good:
        out.say(f"the receiver answered {_answer(answer)}")
    if not answer.is_good:
        raise Unavailable(f"the receiver of webhook {webhook} did not take the message: {_answer(answer)}")


add_commands(webhooks_app, {"add": add_command, "list": list_command, "rm": rm_command, "test": try_command})


def _what(webhook: WebhookView) -> str:
    of = f" of {webhook.owner}" if webhook.owner else ""
    return f"{' and '.join(webhook.events)} events{of}"


def _webhooks_table(webhooks: Sequence[WebhookView]) -> Table:
    rows = [(hook.id, hook.url, _what(hook), _state(hook)) for hook in webhooks]
    return table("webhook", "address", "posts", "last answer", rows=rows)


def _state(webhook: WebhookView) -> str:
    if not webhook.answers:
        return "none yet"
    parts = [f"{_time(webhook.answers[0].at)}: {_answer(webhook.answers[0])}"]
    if webhook.failing_since is not None and webhook.next_at is not None:
        parts.append(f"fails since {_time(webhook.failing_since)}, next try {_time(webhook.next_at)}")
    if webhook.given_up:
        parts.append(f"{counted(webhook.given_up, 'event')} given up")
    return "; ".join(parts)


def _answer(answer: WebhookAnswer) -> str:
    """Its status and first words, or why there is none."""
    return " ".join(filter(None, ["" if answer.status is None else str(answer.status), answer.message]))


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S}"
