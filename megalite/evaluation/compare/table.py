"""A comparison as tables in the terminal."""

from rich.console import Console
from rich.table import Table

from megalite.evaluation.compare.comparison import Z95, Comparison, Figure, Row


def print_comparison(comparison: Comparison, console: Console) -> None:
    """One row per metric with standard errors; with several models also the paired differences from the first."""
    names = comparison.short_names()
    heads = ["value", "standard error"] if len(names) == 1 else names
    table = _table(_title(names), "task", "metric", *heads, "chance", "items", "shots")
    for row in comparison.rows:
        figures = _alone(row.figures[0]) if len(names) == 1 else [_with_error(figure) for figure in row.figures]
        table.add_row(_name(row), row.metric, *figures, *_facts(row))
    console.print(table)
    if len(names) > 1:
        title = f"difference from {names[0]} ± standard error over the same items; * outside the 95 % interval"
        table = _table(title, "task", "metric", *names[1:])
        for row in comparison.rows:
            table.add_row(_name(row), row.metric, *map(_signed, row.differences[1:]))
        console.print(table)
    for note in comparison.notes():
        console.print(note, highlight=False, markup=False)


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left")
    for head in heads:
        table.add_column(head, no_wrap=True)
    return table


def rounded(value: float) -> str:
    """Four decimals, or four significant digits from 1000 on."""
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"


def signed(value: float) -> str:
    return f"{'+' if value >= 0 else ''}{rounded(value)}"


def is_significant(difference: Figure) -> bool:
    """Whether zero lies outside the 95 % interval of a difference."""
    return difference.error is not None and abs(difference.value) > Z95 * difference.error


def _title(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} models ± standard error"


def _name(row: Row) -> str:
    return f"  {row.task}" if row.in_group else row.task


def _facts(row: Row) -> list[str]:
    chance = "" if row.chance is None else f"{row.chance:.4f}"
    return [chance, f"{row.items:,}" if row.items else "", "" if row.examples is None else str(row.examples)]


def _alone(figure: Figure | None) -> list[str]:
    if figure is None:
        return ["", ""]
    return [rounded(figure.value), "" if figure.error is None else f"± {rounded(figure.error)}"]


def _with_error(figure: Figure | None) -> str:
    return " ".join(_alone(figure)).strip()


def _signed(figure: Figure | None) -> str:
    if figure is None:
        return ""
    error = "" if figure.error is None else f" ± {rounded(figure.error)}"
    return f"{signed(figure.value)}{error}{' *' if is_significant(figure) else ''}"
