"""The schema's revisions: a database of an older one is brought up, one of newer code is refused."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from common.errors import Invalid


def config(connection: Connection) -> Config:
    """Alembic's settings for the ledger in `connection`."""
    found = Config()
    found.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    found.attributes["connection"] = connection
    return found


def upgrade(connection: Connection) -> None:
    """Bring the schema up to the newest revision, from none at all too."""
    command.upgrade(config(connection), "head")


def refuse_newer(connection: Connection) -> None:
    """Raises Invalid when the schema is of a revision that this program does not know."""
    scripts = ScriptDirectory.from_config(config(connection))
    known = {script.revision for script in scripts.walk_revisions()}
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in known:
        place = connection.engine.url.render_as_string(hide_password=True)
        raise Invalid(
            f"the ledger {place} was written by a newer shotfarm (schema {found}, this one knows up to "
            f"{scripts.get_current_head()}): install that version, or restore the backup made before it"
        )
