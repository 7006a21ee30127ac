"""The command line `emaki`, put together; what a command needs is imported when it runs."""

import typer

from emaki import shipped
from emaki.command import drawing, looking, running
from emaki.command.errors import in_one_line

# As `python -m training --help` has them, which takes seconds to ask.
TRAINING = {
    "train": "Train a model and publish its checkpoints.",
    "sample": "Draw a grid, or a denoising strip, with a checkpoint.",
    "evaluate": "Measure a model beside what real pictures reach.",
    "publish": "Choose which step of a model is served: roll back, or forward.",
    "average": "Another length of EMA from a run's snapshots.",
    "distill": "Fewer evaluations from a trained model.",
    "autoencoder": "Train an autoencoder for latent models.",
    "convert": "A diffusers folder to a checkpoint, or back.",
    "inspect": "Look at schedules, noising, networks, errors.",
    "data": "What training would see of your pictures: `data check PATH`.",
    "compare": "Two runs' curves and settings side by side.",
}
_PANEL = "Training (each takes --help)"
_AS_THEY_COME = {"allow_extra_args": True, "ignore_unknown_options": True}

program = typer.Typer(
    name="emaki",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@program.callback()
def about() -> None:
    """Small images from diffusion models: serve them, draw them, train them.

    To begin: `emaki serve`, and in another terminal `emaki draw Sneaker`; or, without a service,
    `emaki draw Sneaker --checkpoint fashion-mnist`.
    """


program.command()(running.serve)
program.command()(running.worker)
program.command()(drawing.draw)
program.command()(looking.models)
program.command()(looking.show)


def _pass_to_training(name: str) -> None:
    @program.command(
        name,
        help=TRAINING[name],
        rich_help_panel=_PANEL,
        context_settings=_AS_THEY_COME,
        add_help_option=False,
    )
    @in_one_line("train")
    def passed(context: typer.Context) -> None:
        from training.__main__ import main as training

        given = [name, *context.args]
        finders = {"find_model": shipped.find_model, "find_preset": shipped.find_preset}
        raise typer.Exit(training(given, prog="emaki", **finders))


for _name in TRAINING:
    _pass_to_training(_name)


def main() -> None:
    """Run the command line."""
    program()
