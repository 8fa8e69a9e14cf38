"""The `farm` command line."""

from __future__ import annotations

from collections.abc import Callable

from common.commandline import add_commands, command_line, run_command_line
from coordinator.cli import (
    explain,
    importing,
    jobs,
    local,
    models,
    new,
    nodes,
    pictures,
    plan,
    pull,
    random,
    render,
    run,
    schema,
    status,
    submit,
    watch,
)

app = command_line(
    "farm",
    about="Render hundreds of images from one YAML manifest on the GPUs you have.",
    epilog=(
        "Exit codes: 0 success, 1 the farm could not complete the request, 2 invalid input, "
        "3 images fit no card, 4 over budget, 5 declined, 6 some shots failed."
    ),
)

_COMMANDS: dict[str, Callable[..., None]] = {
    "run": run.run_command,
    "render": render.render_command,
    "random": random.random_command,
    "new": new.new_command,
    "plan": plan.plan_command,
    "import": importing.import_command,
    "submit": submit.submit_command,
    "jobs": jobs.jobs_command,
    "watch": watch.watch_command,
    "pull": pull.pull_command,
    "pause": jobs.pause_command,
    "resume": jobs.resume_command,
    "cancel": jobs.cancel_command,
    "retry": jobs.retry_command,
    "requeue": jobs.requeue_command,
    "accept": jobs.accept_command,
    "reject": pictures.reject_command,
    "delete": pictures.delete_command,
    "priority": jobs.priority_command,
    "explain": explain.explain_command,
    "nodes": nodes.nodes_command,
    "schema": schema.schema_command,
    "up": local.up_command,
    "status": status.status_command,
    "down": local.down_command,
}
add_commands(app, _COMMANDS)
app.add_typer(models.models_app, name="models")
app.add_typer(nodes.node_app, name="node")


def main() -> None:
    run_command_line(app)


if __name__ == "__main__":
    main()
