"""The steps of a check as they pass: a tree that grows on a terminal, a line each elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from smtpconnector_server.cli.terminal import escaped
from smtpconnector_server.smtp.course import ProbeStep, StepStatus

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table
    from rich.tree import Tree

    from smtpconnector_server.failure import Stage

_LOOKS: Final = {
    StepStatus.PASSED: ("green", "✔"),
    StepStatus.FAILED: ("red", "✘"),
    StepStatus.SKIPPED: ("dim", "-"),
}
_NAME_WIDTH: Final = 8
_TIME_WIDTH: Final = 8


class StepTree:
    """Shows steps while its context is open.

    Args:
        title: What is checked.
        stages: The plan, to show what is under way.
        terminal: Where to.
    """

    def __init__(self, title: str, stages: tuple[Stage, ...], terminal: Console) -> None:
        self._title = title
        self._stages = stages
        self._terminal = terminal
        self._steps: list[ProbeStep] = []
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if not self._terminal.is_terminal:
            self._terminal.print(escaped(self._title))
            return self
        from rich.console import Console  # noqa: PLC0415 - costs start-up time that other commands need not pay
        from rich.live import Live  # noqa: PLC0415

        self._live = Live(self._tree(), console=Console(highlight=False), refresh_per_second=12.5)
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._live is not None:
            self._live.update(self._tree(is_over=True))
            self._live.stop()

    def add(self, step: ProbeStep) -> None:
        """Show a step that has ended."""
        self._steps.append(step)
        if self._live is not None:
            self._live.update(self._tree())
        else:
            line = f"{step.name:{_NAME_WIDTH}} {_took(step):>{_TIME_WIDTH}}  {escaped(step.detail)}"
            self._terminal.print(f"  {step.status.value:7} {line}".rstrip())

    def _tree(self, *, is_over: bool = False) -> Tree:
        from rich.spinner import Spinner  # noqa: PLC0415
        from rich.tree import Tree  # noqa: PLC0415

        tree = Tree(f"[bold]{escaped(self._title)}[/]", guide_style="dim")
        for step in self._steps:
            tree.add(_row(step))
        has_failed = any(step.status is StepStatus.FAILED for step in self._steps)
        if not (is_over or has_failed) and len(self._steps) < len(self._stages):
            tree.add(Spinner("dots", self._stages[len(self._steps)].value, style="cyan"))
        return tree


def _row(step: ProbeStep) -> Table:
    """Return a step in columns, so that a long detail stays in its own."""
    from rich.table import Table  # noqa: PLC0415

    colour, mark = _LOOKS[step.status]
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(width=1, style=colour)
    row.add_column(width=_NAME_WIDTH)
    row.add_column(width=_TIME_WIDTH, justify="right", style="dim")
    row.add_column(ratio=1, overflow="fold")
    row.add_row(mark, step.name, _took(step), escaped(step.detail), style="dim" if step.seconds is None else "")
    return row


def _took(step: ProbeStep) -> str:
    return "" if step.seconds is None else f"{step.seconds * 1000:.0f} ms"
