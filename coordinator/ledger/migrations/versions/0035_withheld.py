"""Images that classifiers withhold."""

from __future__ import annotations

from sqlalchemy import Text

from coordinator.ledger.migrations.additions import additions, column, index
from coordinator.ledger.migrations.columns import must

revision = "0035"
down_revision = "0034"

upgrade, downgrade = additions(
    column("images", must("withheld", Text, "")),
    column("deleted_images", must("withheld", Text, "")),
    index("images_withheld", "images", "stored_at", where="withheld <> ''"),
)
