"""Webhooks: addresses that are told of events."""

from __future__ import annotations

from fastapi import APIRouter

from common.errors import NotGranted
from common.webhooks import IssuedWebhook, NewWebhook, WebhookAnswer, WebhookView
from coordinator.http.access import STEERING, TheAct, TheFarm, TheOwner

router = APIRouter(prefix="/v1/webhooks", dependencies=[STEERING])


@router.get("")
def webhooks(farm: TheFarm, owner: TheOwner) -> list[WebhookView]:
    """List webhooks with their last answers, newest first."""
    return farm.ledger.webhooks.views(owner)


@router.post("", status_code=201)
def add(new: NewWebhook, farm: TheFarm, owner: TheOwner, act: TheAct) -> IssuedWebhook:
    """Post events from now on to an address; only this response contains the secret of its signatures.

    422: the address is in a private network or on the farm's machine. 403: for the jobs of another owner.
    """
    if owner is not None and new.owner not in (None, owner):
        raise NotGranted(f"the {act.by} key is of {owner}: it cannot add a webhook for jobs of {new.owner}")
    return farm.add_webhook(new.model_copy(update={"owner": owner or new.owner}), act)


@router.delete("/{webhook_id}")
def remove(webhook_id: str, farm: TheFarm, owner: TheOwner, act: TheAct) -> WebhookView:
    """Remove a webhook. 404: no such webhook."""
    return farm.remove_webhook(webhook_id, owner, act)


@router.post("/{webhook_id}/test")
async def test(webhook_id: str, farm: TheFarm, owner: TheOwner, act: TheAct) -> WebhookAnswer:
    """Post a message without events now; return what the receiver answered. 404: no such webhook."""
    return await farm.webhooks.test(webhook_id, owner, act)
