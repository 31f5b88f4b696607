"""The mask doctor: checks samples before the training, and refuses masks that would train on the wrong tokens."""

from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from megalite.config.errors import DataError
from megalite.config.labels import IGNORE
from megalite.posttraining.mask.encoder import ChatEncoder, EncodedChat
from megalite.posttraining.rows.chat import Conversation

EXAMINED = 256
"""Samples to check, evenly spaced over the data."""
SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """A sample that passed the checks."""

    place: str
    chat: EncodedChat
    loss_tokens: int


def examine(encoder: ChatEncoder, samples: list[tuple[str, Conversation]], skip_broken: bool = False) -> list[Finding]:
    """Check the masks of samples.

    Args:
        skip_broken: skip samples that cannot be encoded, as ``data.on_error: skip`` does; at least one must be left.

    Raises: DataError that names the first sample in which a turn is missing, the stop token carries no loss, all or no
        tokens carry loss, or tokens outside the assistant's turns carry loss.
    """
    findings, broken = [], ""
    for place, turns in samples:
        try:
            chat = encoder.encode(turns)
        except ValueError as error:
            if not skip_broken:
                raise DataError(f"{place}: {error}") from None
            broken = broken or f"{place}: {error}"
            continue
        try:
            _check(encoder, turns, chat)
        except ValueError as error:
            raise DataError(f"{place}: mask doctor: {error}") from None
        findings.append(Finding(place, chat, sum(label != IGNORE for label in chat.labels)))
    if not findings:
        raise DataError(f"no sample can be encoded; the first: {broken}")
    return findings


def spread(samples: list[tuple[str, Conversation]], count: int = EXAMINED) -> list[tuple[str, Conversation]]:
    """At most ``count`` of the samples, evenly spaced."""
    return [samples[number * len(samples) // count] for number in range(count)] if len(samples) > count else samples


def _check(encoder: ChatEncoder, turns: Conversation, chat: EncodedChat) -> None:
    """Raises: ValueError with the first problem."""
    lost = lost_turn(chat.text, turns)
    if lost is not None:
        raise ValueError(f"the chat template drops turn {lost} ({turns[lost]['role']}): its content is not in the text")
    if all(label != IGNORE for label in chat.labels):
        raise ValueError("every token carries loss, also those of the user and of the template")
    if all(label == IGNORE for label in chat.labels):
        raise ValueError("no token carries loss")
    starts = {start: number for number, (start, end) in enumerate(chat.offsets) if end > start}
    for number, turn in enumerate(turns):
        if turn["role"] != "assistant":
            continue
        begin, end = encoder.assistant_span(chat.text, turns, number)
        stop = starts.get(end - len(encoder.stop_token))
        if stop is None or chat.ids[stop] != encoder.stop_id:
            raise ValueError(f"the stop token {encoder.stop_token} after turn {number} is not one token of the sample")
        if chat.labels[stop] == IGNORE:
            raise ValueError(
                f"the stop token {encoder.stop_token} after turn {number} carries no loss, so the model would never "
                f"learn to stop; write it inside the template's generation marks"
            )
        words = chat.text.rstrip().rfind(turn["content"].strip(), begin, end)
        inside = [n for n, (start, _) in enumerate(chat.offsets) if words <= start < end - len(encoder.stop_token)]
        if any(chat.labels[n] == IGNORE for n in inside):
            raise ValueError(f"a part of assistant turn {number} carries no loss")
    own = [encoder.assistant_span(chat.text, turns, n) for n, turn in enumerate(turns) if turn["role"] == "assistant"]
    for (start, end), label in zip(chat.offsets, chat.labels, strict=True):
        if label != IGNORE and chat.text[start:end].strip() and not any(b <= start < e for b, e in own):
            raise ValueError(
                f"{chat.text[start:end]!r} at character {start} carries loss, but is not in an assistant turn"
            )


def lost_turn(text: str, turns: Conversation) -> int | None:
    """The number of the first turn whose content is not in ``text`` after that of the turn before; None if all are."""
    cursor = 0
    for number, turn in enumerate(turns):
        content = turn["content"].strip()
        at = text.find(content, cursor)
        if at < 0:
            return number
        cursor = at + len(content)
    return None


def show(findings: list[Finding], encoder: ChatEncoder, console: Console, count: int = SHOWN) -> None:
    """Print a few samples: tokens with loss are green, others dim, the stop token has a background."""
    for finding in findings[:count]:
        share = finding.loss_tokens / len(finding.chat.ids)
        console.rule(
            f"{finding.place}: {finding.loss_tokens} of {len(finding.chat.ids)} tokens carry loss ({share:.0%})"
        )
        text = Text()
        for piece, kind in pieces(finding.chat, encoder.stop_id):
            text.append(piece, {"loss": "green", "stop": "bold white on dark_green", "none": "dim"}[kind])
        console.print(text)
    console.rule()


def pieces(chat: EncodedChat, stop_id: int) -> list[tuple[str, str]]:
    """Split the text into ``(text, kind)``; kind is ``loss``, ``stop`` (a stop token with loss) or ``none``."""
    result: list[tuple[str, str]] = []
    cursor = 0
    for number, (token, label) in enumerate(zip(chat.ids, chat.labels, strict=True)):
        last = number + 1 == len(chat.ids)
        end = len(chat.text) if last else max(cursor, chat.offsets[number + 1][0])
        kind = "none" if label == IGNORE else "stop" if token == stop_id else "loss"
        if result and result[-1][1] == kind and kind != "stop":
            result[-1] = (result[-1][0] + chat.text[cursor:end], kind)
        elif end > cursor:
            result.append((chat.text[cursor:end], kind))
        cursor = end
    return result
