"""The operator's calls of the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

from common.access_messages import EndedAccess, IssuedInvitation, NewInvitation
from common.bill import Bill, Thanks
from common.client.calls import SUBMIT_TIMEOUT_S, quoted
from common.client.farm import SyncFarm
from common.key_messages import (
    AuditEntry,
    AuditPage,
    IssuedKey,
    KeyLimits,
    KeyView,
    NewKey,
    Rotation,
    SignInLink,
)
from common.views import (
    AcceptedShot,
    ApprovedShot,
    BacklogView,
    CatalogAddition,
    CatalogVersion,
    CostTable,
    Deleted,
    Deletion,
    Explanation,
    JobView,
    MemoryView,
    NodeView,
    NodeWish,
    PickList,
    PictureOrigin,
    Priority,
    RejectedShot,
    Rejection,
    ShotQuery,
    StoredShots,
    WithheldImage,
    WithheldImages,
)
from common.webhooks import IssuedWebhook, NewWebhook, WebhookAnswer, WebhookView

if TYPE_CHECKING:
    from common.catalog import Catalog

#: What an operator may ask of a node.
NodeVerb = Literal["drain", "pause", "resume", "quarantine", "forgive", "forget", "vouch", "disavow"]


class FarmClient(SyncFarm):
    """What operators may call besides what programs do."""

    def __init__(self, url: str, key: str | None) -> None:
        """Raises Invalid for what is no URL, or cannot be a key."""
        remedy = "; `farm status` shows its processes, `farm up` starts them"
        super().__init__(url, key, given_as="public_url", remedy=remedy)

    def prioritise(self, job_id: str, priority: int) -> JobView:
        wish = Priority(priority=priority)
        return self.post(JobView, f"/v1/jobs/{quoted(job_id)}/priority", wish)

    def accept(self, shot_id: str, job_id: str | None = None) -> AcceptedShot:
        """`shot_id` may be cut to 6 digits or more."""
        return self.post(AcceptedShot, _shot(shot_id, "accept", job_id))

    def stored(self, shot_ids: Sequence[str], texts: Sequence[str] = ()) -> StoredShots:
        """What is stored of up to `MOST_SHOTS` shots and texts of shots."""
        query = ShotQuery(ids=tuple(shot_ids), texts=tuple(texts))
        return self.post(StoredShots, "/v1/shots/stored", query)

    def reject(
        self,
        shot_id: str,
        job_id: str | None = None,
        *,
        by: str,
        redo: Literal["no", "next seed", "same seed"] = "no",
    ) -> RejectedShot:
        """`shot_id` may be cut to 6 digits or more, here and in `delete_shot`."""
        wish = Rejection(by=by, redo=redo)
        return self.post(RejectedShot, _shot(shot_id, "reject", job_id), wish)

    def delete_shot(self, shot_id: str, job_id: str | None = None, *, by: str) -> Deleted:
        return self.post(Deleted, _shot(shot_id, "delete", job_id), Deletion(by=by))

    def withheld(self) -> tuple[WithheldImage, ...]:
        """Images that classifiers withheld, the oldest first."""
        return self.get(WithheldImages, "/v1/withheld").images

    def approve(self, shot_id: str) -> ApprovedShot:
        """Show a withheld image; `shot_id` may be cut to 6 digits or more."""
        return self.post(ApprovedShot, _shot(shot_id, "approve", None))

    def delete_job(self, job_id: str, *, by: str) -> Deleted:
        path = f"/v1/jobs/{quoted(job_id)}/delete"
        return self.post(Deleted, path, Deletion(by=by), SUBMIT_TIMEOUT_S)

    def delete_content(self, sha256: str, *, by: str) -> Deleted:
        path = f"/v1/images/{quoted(sha256)}/delete"
        return self.post(Deleted, path, Deletion(by=by))

    def discard_images(self, node_id: str, *, by: str) -> Deleted:
        """All stored images of a node."""
        path = f"/v1/nodes/{quoted(node_id)}/discard-images"
        return self.post(Deleted, path, Deletion(by=by), SUBMIT_TIMEOUT_S)

    def explain(self, subject: str) -> Explanation:
        """Of a job's id, a node's name, or a shot's id or its beginning."""
        return self.get(Explanation, f"/v1/explain/{quoted(subject)}")

    def origin(self, sha256: str, shot_id: str | None, perceptual_hash: str | None) -> PictureOrigin:
        """Of a picture with this content, whose metadata names a shot, and which shows what has this hash."""
        known = {"shot": shot_id, "perceptual_hash": perceptual_hash}
        return self.get(PictureOrigin, _asking(f"/v1/images/{quoted(sha256)}/origin", **known))

    def table(self, job_id: str) -> CostTable:
        return self.get(CostTable, f"/v1/jobs/{quoted(job_id)}/table")

    def bill(self, job_id: str) -> Bill:
        return self.get(Bill, f"/v1/jobs/{quoted(job_id)}/bill")

    def thanks(self, month: str | None = None, owner: str | None = None) -> Thanks:
        return self.get(Thanks, _asking("/v1/thanks", month=month, owner=owner))

    def picks(self, job_id: str) -> PickList:
        """Which images of a job were kept, dropped or given stars."""
        return self.get(PickList, f"/v1/jobs/{quoted(job_id)}/picks")

    def sign_in_link(self) -> SignInLink:
        """An address of the web page that signs a browser in with the key of this client, once."""
        return self.post(SignInLink, "/v1/sign-in-links")

    def created_keys(self) -> list[KeyView]:
        return self.get(list[KeyView], "/v1/keys")

    def create_key(self, new: NewKey) -> IssuedKey:
        return self.post(IssuedKey, "/v1/keys", new)

    def limit_key(self, name: str, limits: KeyLimits) -> KeyView:
        return self.post(KeyView, f"/v1/keys/{quoted(name)}/limits", limits)

    def rotate_key(self, name: str, rotation: Rotation) -> IssuedKey:
        return self.post(IssuedKey, f"/v1/keys/{quoted(name)}/rotate", rotation)

    def revoke_key(self, name: str) -> KeyView:
        return self.post(KeyView, f"/v1/keys/{quoted(name)}/revoke")

    def webhooks(self) -> list[WebhookView]:
        """The newest first."""
        return self.get(list[WebhookView], "/v1/webhooks")

    def add_webhook(self, new: NewWebhook) -> IssuedWebhook:
        return self.post(IssuedWebhook, "/v1/webhooks", new)

    def remove_webhook(self, webhook_id: str) -> WebhookView:
        return self.delete(WebhookView, f"/v1/webhooks/{quoted(webhook_id)}")

    def test_webhook(self, webhook_id: str) -> WebhookAnswer:
        return self.post(WebhookAnswer, f"/v1/webhooks/{quoted(webhook_id)}/test")

    def audit(self, *, by: str | None, subject: str | None, limit: int) -> list[AuditEntry]:
        """The newest first."""
        return list(
            self.get(AuditPage, _asking("/v1/audit", by=by, subject=subject, limit=str(limit))).entries
        )

    def nodes(self) -> list[NodeView]:
        return self.get(list[NodeView], "/v1/nodes")

    def steer_node(self, name: str, verb: NodeVerb, reason: str = "") -> NodeView:
        wish = NodeWish(reason=reason)
        return self.post(NodeView, f"/v1/nodes/{quoted(name)}/{verb}", wish)

    def invite_node(self, new: NewInvitation) -> IssuedInvitation:
        return self.post(IssuedInvitation, "/v1/invitations", new)

    def revoke_node(self, name: str, reason: str = "", *, remove: bool = False) -> EndedAccess:
        """End the access of a node for good; with `remove`, take it off the list, too."""
        verb = "remove" if remove else "revoke"
        return self.post(EndedAccess, f"/v1/nodes/{quoted(name)}/{verb}", NodeWish(reason=reason))

    def backlog(self) -> BacklogView:
        return self.get(BacklogView, "/v1/backlog")

    def memory(self) -> list[MemoryView]:
        return self.get(list[MemoryView], "/v1/memory")

    def catalog(self) -> Catalog:
        """The farm's catalog, with what was added while it runs."""
        # Most commands never ask, and the catalog's modules take a fifth of a command's time to import.
        from common.catalog import ServedCatalog, build_catalog

        return build_catalog(self.get(ServedCatalog, "/v1/catalog"))

    def add_entry(self, addition: CatalogAddition) -> CatalogVersion:
        """Raises Invalid where the entry is wrong, or the store lacks its files."""
        return self.post(CatalogVersion, "/v1/models", addition)

    def remove_entry(self, section: str, name: str) -> None:
        """Raises NotFound where it was not added, Invalid where another entry needs it."""
        self.send("DELETE", f"/v1/models/{quoted(name)}?section={section}")


def _shot(shot_id: str, verb: str, job_id: str | None) -> str:
    """The address of a verb of a shot, for one job or for all that the verb is about."""
    job = f"?job={quoted(job_id)}" if job_id else ""
    return f"/v1/shots/{quoted(shot_id)}/{verb}{job}"


def _asking(path: str, **wanted: str | None) -> str:
    """The path with these parameters, as far as they are given."""
    given = {name: value for name, value in wanted.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path
