"""The mask doctor: looks at samples before the training begins, and refuses masks that would teach the wrong thing."""

from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from megalite.config.errors import DataError
from megalite.config.labels import IGNORE
from megalite.posttraining.mask.encoder import ChatEncoder, EncodedChat
from megalite.posttraining.rows.chat import Conversation

EXAMINED = 256
"""Samples looked at, evenly spaced over the data."""
SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """A healthy sample."""

    place: str
    chat: EncodedChat
    loss_tokens: int


def examine(encoder: ChatEncoder, samples: list[tuple[str, Conversation]], skip_broken: bool = False) -> list[Finding]:
    """Every sample's mask, if all are sound.

    Args:
        skip_broken: pass over samples that cannot be encoded, as ``data.on_error: skip`` will; one at least must be left.

    Raises: DataError that names the first sample where a turn is lost, the stop token carries no loss, everything or
        nothing carries loss, or the loss falls on words that are not the assistant's.
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
        raise DataError(f"no sample can be rendered; the first: {broken}")
    return findings


def spread(samples: list[tuple[str, Conversation]], count: int = EXAMINED) -> list[tuple[str, Conversation]]:
    """At most ``count`` of the samples, evenly spaced."""
    return [samples[number * len(samples) // count] for number in range(count)] if len(samples) > count else samples


def _check(encoder: ChatEncoder, turns: Conversation, chat: EncodedChat) -> None:
    """Raises ValueError with the first thing that is wrong."""
    lost = lost_turn(chat.text, turns)
    if lost is not None:
        raise ValueError(f"the chat template loses turn {lost} ({turns[lost]['role']}): its content is not in the text")
    if all(label != IGNORE for label in chat.labels):
        raise ValueError("the mask is all ones: the loss would also be taken on the user's words and the template's")
    if all(label == IGNORE for label in chat.labels):
        raise ValueError("the mask is all zeros: no token carries loss")
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
            raise ValueError(f"a part of turn {number} carries no loss though it is the assistant's")
    own = [encoder.assistant_span(chat.text, turns, n) for n, turn in enumerate(turns) if turn["role"] == "assistant"]
    for (start, end), label in zip(chat.offsets, chat.labels, strict=True):
        if label != IGNORE and chat.text[start:end].strip() and not any(b <= start < e for b, e in own):
            raise ValueError(
                f"the loss falls on {chat.text[start:end]!r} at character {start}, which is not the assistant's"
            )


def lost_turn(text: str, turns: Conversation) -> int | None:
    """The number of the first turn whose content does not stand in ``text`` after the one before it."""
    cursor = 0
    for number, turn in enumerate(turns):
        content = turn["content"].strip()
        at = text.find(content, cursor)
        if at < 0:
            return number
        cursor = at + len(content)
    return None


def show(findings: list[Finding], encoder: ChatEncoder, console: Console, count: int = SHOWN) -> None:
    """A few samples on the terminal: green carries loss, dim does not, the stop token stands out."""
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
    """``(text, kind)`` one after another, the whole text; kind is ``loss``, ``stop`` (with loss) or ``none``."""
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
