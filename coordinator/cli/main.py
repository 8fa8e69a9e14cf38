"""The `farm` command line."""

from __future__ import annotations

import sys

import typer

from common.errors import FarmError
from coordinator.cli import jobs, local, models, plan, pull, run, schema, status, submit, watch
from coordinator.cli.show import err

_INTERRUPTED = 130

app = typer.Typer(
    name="farm",
    help="Turn one YAML manifest into hundreds of pictures, on the GPUs you have.",
    epilog=(
        "Exit codes: 0 done, 1 the farm cannot, 2 something given is wrong, 3 it fits nothing, "
        "4 over budget, 5 declined, 6 some shots failed."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("run")(run.run_command)
app.command("plan")(plan.plan_command)
app.command("models")(models.models_command)
app.command("submit")(submit.submit_command)
app.command("jobs")(jobs.jobs_command)
app.command("watch")(watch.watch_command)
app.command("pull")(pull.pull_command)
app.command("pause")(jobs.pause_command)
app.command("resume")(jobs.resume_command)
app.command("cancel")(jobs.cancel_command)
app.command("schema")(schema.schema_command)
app.command("up")(local.up_command)
app.command("status")(status.status_command)
app.command("down")(local.down_command)


def main() -> None:
    """Run the command line; an error the farm can explain is one sentence, never a traceback."""
    try:
        app()
    except FarmError as error:
        err.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
