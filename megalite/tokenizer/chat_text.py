"""Encode conversations: special tokens of the chat template are tokens, those written in messages are text.

A chat template renders one string, in which the two look the same. Therefore special tokens in messages are replaced by
private-use characters before rendering and restored afterwards, so that the remaining ones are known to be the template's.
Conversations without special tokens in messages are encoded exactly as by transformers.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any

from tokenizers import AddedToken, Tokenizer

from megalite.config.errors import DataError, in_one_line
from megalite.templates.render import render_jinja_template

PRIVATE = (0xF0000, 0xFFF00)
"""Private-use characters; they replace special tokens in messages while the template is rendered."""
PROBE = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"})
MARK = chr(0xFFFFD)
"""Follows the first character of a special token in a message, if text and template must be one string."""
ROLE = re.compile(r"[A-Za-z][\w-]{0,63}")


@dataclass(frozen=True)
class Rendered:
    """A rendered conversation."""

    text: str
    own: tuple[tuple[int, int], ...]
    """Positions of the template's own special tokens."""
    spans: tuple[tuple[int, int], ...]
    """Positions of the text inside ``{% generation %}`` marks."""
    spelled: int
    """Number of special tokens in messages."""


class ChatText:
    """Renders and encodes conversations with one tokenizer and one template.

    Args:
        parse_special_tokens: encode special tokens in messages as tokens, as transformers does.

    Attributes:
        names: tokens that no message may write: the special ones, and others with which the template separates turns.
    """

    def __init__(self, tokenizer: Any, template: str, parse_special_tokens: bool = False) -> None:
        self.tokenizer, self.template, self.parses = tokenizer, template, parse_special_tokens
        self.has_marks = re.search(r"{%-?\s*generation\b", template) is not None
        added = tokenizer.added_tokens_decoder.values()
        special = {token.content for token in added if token.special} | {tokenizer.eos_token} - {None}
        try:
            turns = self._rendered(PROBE, False)[0]
        except ValueError:
            turns = ""
        others = {token.content for token in added if not token.content.isspace() and token.content in turns}
        self.names = tuple(sorted((special | others) - {""}, key=lambda name: (-len(name), name)))
        self._pattern = re.compile("|".join(map(re.escape, self.names)) or r"(?!)")
        self._ends = {name[:size] for name in self.names for size in range(1, len(name))}
        self._begins = {name[size:] for name in self.names for size in range(1, len(name))}

    def render(
        self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = False, **options: Any
    ) -> Rendered:
        """Render messages; ``options`` are those of transformers' ``apply_chat_template``.

        Raises: ValueError if the template fails.
        """
        for number, message in enumerate(messages):
            if not ROLE.fullmatch(str(message.get("role", ""))):
                raise ValueError(f"turn {number}: the role {str(message.get('role'))[:40]!r} is not a valid role name")
        hidden: dict[str, str] = {}
        spelled = _count(list(messages), self._pattern)
        shown = list(messages)
        if not self.parses:
            shown = [_map_texts(message, lambda text: self._hide(text, hidden, messages)) for message in messages]
        text, spans = self._rendered(shown, add_generation_prompt, **options)
        back = {private: name for name, private in hidden.items()}
        sizes = [len(back.get(character, character)) for character in text] if back else None
        places = list(accumulate(sizes, initial=0)) if sizes is not None else range(len(text) + 1)
        own = [(places[match.start()], places[match.end()]) for match in self._pattern.finditer(text)]
        moved = [(places[start], places[end]) for start, end in spans]
        whole = "".join(back.get(character, character) for character in text) if back else text
        return Rendered(whole, tuple(own), tuple(moved), spelled)

    def encode(self, rendered: Rendered) -> tuple[list[int], list[tuple[int, int]]]:
        """Return ids and their positions in the text (empty if the tokenizer is not a fast one).

        Raises: ValueError if the vocabulary encodes text as a special token anyway.
        """
        if len(rendered.own) == len(self._pattern.findall(rendered.text)):
            return self._as_transformers(rendered.text)
        if not self.tokenizer.is_fast:
            return self._in_parts(rendered), []
        masked, places, aliases = [], [0], self._aliases(rendered.text)
        cursor = 0
        for start, end in (*rendered.own, (len(rendered.text), len(rendered.text))):
            masked.append(rendered.text[cursor:start])
            places += range(cursor + 1, start + 1)
            if end > start:
                masked.append(aliases[rendered.text[start:end]])
                places.append(end)
            cursor = end
        backend, numbers = _with_aliases(self.tokenizer, self.names, tuple(aliases.values()))
        found = backend.encode("".join(masked), add_special_tokens=False)
        ids = [numbers.get(number, number) for number in found.ids]
        if sum(number in numbers for number in found.ids) != len(rendered.own) or set(numbers.values()) & set(
            found.ids
        ):
            raise ValueError("contains a special token that is also an ordinary piece of the vocabulary")
        return ids, [(places[start], places[end]) for start, end in found.offsets]

    def ids(self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = False) -> list[int]:
        """Return the ids of a conversation. Raises: ValueError."""
        return self.encode(self.render(messages, add_generation_prompt))[0]

    def as_text(self, text: str) -> str:
        """The text with a mark in every special token."""
        return self._pattern.sub(lambda match: match[0][0] + MARK + match[0][1:], text.replace(MARK, ""))

    def marked(self, rendered: Rendered) -> str:
        """The rendered text with a mark in every special token that is not the template's own."""
        parts, cursor = [], 0
        for start, end in (*rendered.own, (len(rendered.text), len(rendered.text))):
            parts += [self.as_text(rendered.text[cursor:start]), rendered.text[start:end]]
            cursor = end
        return "".join(parts)

    def unmarked(self, text: str) -> Rendered:
        """The inverse of ``marked``, without the spans."""
        own = []
        for match in self._pattern.finditer(text):
            before = text.count(MARK, 0, match.start())
            own.append((match.start() - before, match.end() - before))
        return Rendered(text.replace(MARK, ""), tuple(own), (), text.count(MARK))

    @cached_property
    def _bank(self) -> dict[str, str]:
        return {name: chr(PRIVATE[1] - number) for number, name in enumerate(self.names)}

    def _aliases(self, text: str) -> dict[str, str]:
        """For each name, a private character that is not in the text."""
        if not any(private in text for private in self._bank.values()):
            return self._bank
        free = (chr(number) for number in range(*PRIVATE) if chr(number) not in text)
        return dict(zip(self.names, free, strict=False))

    def _hide(self, text: str, hidden: dict[str, str], messages: Sequence[Any]) -> str:
        """Replace special tokens in the text by private characters, and also parts of one at its ends."""

        def private(spelled: str) -> str:
            if spelled not in hidden:
                known = "".join(hidden.values())
                codes = range(PRIVATE[0] + len(hidden), PRIVATE[1])
                hidden[spelled] = next(chr(n) for n in codes if chr(n) not in known and not _holds(messages, chr(n)))
            return hidden[spelled]

        text = self._pattern.sub(lambda match: private(match[0]), text)
        body = text.strip()
        before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
        longest = self._longest
        end = next((body[-size:] for size in range(min(longest, len(body)), 0, -1) if body[-size:] in self._ends), "")
        if end:
            body = body[: len(body) - len(end)] + private(end)
        begin = next((body[:size] for size in range(min(longest, len(body)), 0, -1) if body[:size] in self._begins), "")
        if begin:
            body = private(begin) + body[len(begin) :]
        return before + body + after if body else text

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.names), default=1) - 1

    def _rendered(
        self, messages: Sequence[Any], add_generation_prompt: bool, **options: Any
    ) -> tuple[str, list[tuple[int, int]]]:
        chat = [{key: value for key, value in message.items() if value is not None} for message in messages]
        try:
            texts, spans = render_jinja_template(
                conversations=[chat],
                chat_template=self.template,
                return_assistant_tokens_mask=self.has_marks,
                add_generation_prompt=add_generation_prompt,
                **self.tokenizer.special_tokens_map,
                **options,
            )
        except Exception as error:  # jinja2's errors, and those of the values that a template uses
            raise ValueError(f"the chat template refuses the conversation: {in_one_line(error)}") from None
        return str(texts[0]), list(spans[0]) if self.has_marks else []

    def _as_transformers(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        if not self.tokenizer.is_fast:
            return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]), []
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return list(encoded["input_ids"]), [tuple(pair) for pair in encoded["offset_mapping"]]

    def _in_parts(self, rendered: Rendered) -> list[int]:
        """For tokenizers that encode the texts between special tokens separately anyway."""
        ids, cursor = [], 0
        for start, end in (*rendered.own, (len(rendered.text), len(rendered.text))):
            ids += text_ids(self.tokenizer, rendered.text[cursor:start]) if start > cursor else []
            ids += [self.tokenizer.convert_tokens_to_ids(rendered.text[start:end])] if end > start else []
            cursor = end
        return ids


def text_ids(tokenizer: Any, text: str, parse_special_tokens: bool = False, **options: Any) -> list[int]:
    """The ids of a text with a tokenizer of transformers; special tokens in it are text unless ``parse_special_tokens``."""
    options = {"add_special_tokens": False} | options
    return list(tokenizer(text, split_special_tokens=not parse_special_tokens, **options)["input_ids"])


@lru_cache(maxsize=4)
def chat_text(tokenizer: Any, template: str, parse_special_tokens: bool = False) -> ChatText:
    """A cached ``ChatText``."""
    return ChatText(tokenizer, template, parse_special_tokens)


def require_template(tokenizer: Any) -> str:
    """The tokenizer's chat template. Raises: DataError if it has none."""
    template = getattr(tokenizer, "chat_template", None)
    if not isinstance(template, str) or not template.strip():
        raise DataError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template; fine-tune the model on conversations first, or "
            "continue a prompt without chat"
        )
    return template


@lru_cache(maxsize=4)
def _with_aliases(tokenizer: Any, names: tuple[str, ...], aliases: tuple[str, ...]) -> tuple[Tokenizer, dict[int, int]]:
    """A copy of the tokenizer with a private character for each special token, and a map from their ids to the tokens' ids.

    The copy encodes special tokens as text. A private character strips spaces like its token.
    """
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    own = {token.content: token for token in backend.get_added_tokens_decoder().values()}
    backend.add_special_tokens([name for name in names if name in own and not own[name].special])
    backend.encode_special_tokens = True
    numbers: dict[int, int] = {}
    for name, alias in zip(names, aliases, strict=True):
        like = own.get(name)
        rules = (
            {rule: getattr(like, rule) for rule in ("lstrip", "rstrip", "single_word", "normalized")} if like else {}
        )
        backend.add_tokens([AddedToken(alias, special=False, **({"normalized": False} | rules))])
        numbers[int(backend.token_to_id(alias) or 0)] = int(tokenizer.convert_tokens_to_ids(name))
    return backend, numbers


def _map_texts(value: Any, change: Any) -> Any:
    """Apply ``change`` to every text in a message except keys and the role."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: part if key == "role" else _map_texts(part, change) for key, part in value.items()}
    return [_map_texts(part, change) for part in value] if isinstance(value, list | tuple) else value


def _count(value: Any, pattern: re.Pattern[str]) -> int:
    found = 0

    def count(text: str) -> str:
        nonlocal found
        found += len(pattern.findall(text))
        return text

    _map_texts(value, count)
    return found


def _holds(value: Any, character: str) -> bool:
    """Whether a character occurs in any text of the messages."""
    return _count(list(value), re.compile(re.escape(character))) > 0
