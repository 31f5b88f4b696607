"""Counts of the rows that a run reads and drops, with reasons."""

from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from megalite.config.errors import DataError
from megalite.files.readers.malformed import Malformed, ReadReport
from megalite.posttraining.schema import RowsSection

REMEDY = "fix the row, or skip such rows with data.on_error=skip"


@dataclass
class RowLedger:
    """The counts, and the rules by which rows are dropped."""

    data: RowsSection
    report: ReadReport = field(default_factory=lambda: ReadReport(remedy=REMEDY))
    too_long: int = 0
    first_too_long: str = ""
    special_tokens: int = 0
    """Special tokens written in messages."""

    def add_broken(self, place: str, reason: str) -> None:
        """Count a broken row. Raises: DataError if ``data.on_error`` is ``fatal``."""
        path, _, line = place.rpartition(":")
        self.report.add_malformed(Malformed(path, int(line), reason), self.data.on_error)

    def fits(self, place: str, tokens: int) -> bool:
        """Whether a sample is short enough; longer ones are counted. Raises: DataError if ``too_long`` is ``refuse``."""
        limit = self.data.sequence_length
        if tokens > limit:
            if self.data.too_long == "refuse":
                raise DataError(
                    f"{place}: {tokens} tokens are more than data.sequence_length={limit}; raise it, or drop longer "
                    f"samples with data.too_long=drop"
                )
            self.too_long += 1
            self.first_too_long = self.first_too_long or f"{place} ({tokens} tokens)"
        return tokens <= limit

    def require(self, samples: int) -> None:
        """Raises: DataError if no sample is left."""
        if not samples:
            raise DataError(
                f"{', '.join(self.data.train)}: no sample is left: {self.too_long} are longer than "
                f"data.sequence_length={self.data.sequence_length} (the first is {self.first_too_long or 'none'}), "
                f"{self.report.malformed} are broken"
            )

    def print(self, train: int, valid: int | None, console: Console) -> None:
        """Show the counts, with the numbers of training and validation samples, as a table."""
        table = Table(title="rows", show_header=False, title_justify="left")
        table.add_column(style="bold")
        table.add_column()
        table.add_row("read", f"{self.report.documents:,}")
        if self.report.malformed:
            table.add_row("broken, skipped", f"{self.report.malformed:,}, the first: {self.report.examples[0]}")
        if self.too_long:
            table.add_row("too long, dropped", f"{self.too_long:,}, the first: {self.first_too_long}")
        if self.special_tokens:
            rule = "encoded as these tokens" if self.data.parse_special_tokens else "encoded as text"
            table.add_row("special tokens", f"{self.special_tokens:,} written in messages, {rule}")
        table.add_row("training", f"{train:,}")
        table.add_row("validation", "none" if valid is None else f"{valid:,}")
        console.print(table)
