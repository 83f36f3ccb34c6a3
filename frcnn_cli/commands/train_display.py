"""What a person sees of a training run: a live panel in a terminal, plain lines in a log file."""

from __future__ import annotations

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from frcnn_cli.commands.console import err
from frcnn_cli.engine.run_folder import Progress


class TrainingDisplay:
    """An `Observer` of the trainer that writes to stderr."""

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations
        self._live = (
            Live(Text("the first iterations ..."), console=err, auto_refresh=False) if err.is_terminal else None
        )

    def __enter__(self) -> TrainingDisplay:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def progress(self, progress: Progress) -> None:
        """Show the latest numbers."""
        if self._live:
            self._live.update(self._panel(progress), refresh=True)
        else:
            values = progress.values
            err.print(
                f"iteration {progress.iteration}/{self.iterations}  loss {values['loss']:.4f} "
                f"({', '.join(f'{name} {value:.4f}' for name, value in _terms(values))})  lr {values['lr']:.2e}  "
                f"foreground {values['foreground']:.0%}  {values['images_per_second']:.2f} images/s  "
                f"{_duration(progress.seconds_left)} left"
            )

    def message(self, text: str) -> None:
        """Print a line that stays."""
        err.print(text)

    def _panel(self, progress: Progress) -> Group:
        values = progress.values
        table = Table.grid(padding=(0, 2))  # 80 columns hold it
        terms = _terms(values)
        names = [name for name, _ in terms]
        table.add_row("iteration", "loss", *names, "lr", "foreground", "images/s", "left", style="dim")
        table.add_row(
            f"{progress.iteration}/{self.iterations}",
            f"{values['loss']:.4f}",
            *(f"{value:.4f}" for _, value in terms),
            f"{values['lr']:.2e}",
            f"{values['foreground']:.0%}",
            f"{values['images_per_second']:.2f}",
            _duration(progress.seconds_left),
        )
        return Group(table, ProgressBar(total=self.iterations, completed=progress.iteration, width=60))


def _terms(values: dict[str, float]) -> list[tuple[str, float]]:
    """The terms of the loss, by their names."""
    return [(name.removeprefix("loss_"), value) for name, value in values.items() if name.startswith("loss_")]


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds; a day has 24 of the former."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
