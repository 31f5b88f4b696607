"""Replaces personal data in running text: mail and network addresses, telephone, card and bank account numbers.

The placeholders are reserved for documentation (RFC 2606, RFC 5737, RFC 3849), so that they belong to nobody.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from megalite.corpus.filters.rule import Filter, Rule
from megalite.corpus.words.words import Text

ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
EMAIL = re.compile(rf"\b{ATOM}+(?:\.{ATOM}+)*@(?:{HOST}|\[(?:{OCTET}\.){{3}}{OCTET}\])")
"""An RFC 5322 dot-atom at a host name or address."""
AROUND = 256
"""Number of characters to search on either side of an @ (RFC 5321, section 4.5.3.1: at most 64 before, 255 after)."""
IPV4 = re.compile(rf"(?:{OCTET}\.){{3}}{OCTET}")
IPV6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
PHONE = re.compile(
    r"(?<![\w.+/-])(?:\+[1-9][0-9]{0,2}[ .-]?(?:\(0?[0-9]{1,4}\)[ .-]?)?[0-9]{1,4}(?:[ .-]?[0-9]{2,4}){1,4}"
    r"|(?:1[ .-])?(?:\([2-9][0-9]{2}\)[ .-]?|[2-9][0-9]{2}[.-])[2-9][0-9]{2}[ .-][0-9]{4})(?![\w-]|\.[0-9])"
)
"""International numbers with a plus, and North American numbers with separators; plain runs of digits do not match."""
CARD = re.compile(r"(?<![\w.-])[3-6][0-9]{3}([ -]?)[0-9]{4}\1[0-9]{4}\1[0-9]{1,4}(?![\w-])")
IBAN = re.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
Kind = Literal["email", "ip", "phone", "card", "iban"]


def mask(text: str, kinds: tuple[Kind, ...]) -> tuple[str, Counter[str]]:
    """Returns the text with personal data replaced, and the number of replacements by kind."""
    found: Counter[str] = Counter()
    for kind in kinds:
        text, count = MASKS[kind](text)
        if count:
            found[kind] += count
    return text, found


def _mask_emails(text: str) -> tuple[str, int]:
    """Searches only around each @, so that text without one costs nothing."""
    parts: list[str] = []
    done = at = count = 0  # an @ at the start of the text is not an address
    while (at := text.find("@", at + 1)) >= 0:
        if (text[at + 1 : at + 2].isalnum() or text[at + 1 : at + 2] == "[") and not text[at - 1].isspace():
            start = max(done, at - AROUND)
            match = EMAIL.search(text, start, at + AROUND)
            while match and match.end() <= at:
                match = EMAIL.search(text, match.end(), at + AROUND)
            if match and match.start() < at:
                parts += (text[done : match.start()], "email@example.com")
                done = match.end()
                at = done - 1
                count += 1
    return ("".join(parts) + text[done:], count) if count else (text, 0)


def _replace(
    pattern: re.Pattern[str], placeholder: str, is_valid: Callable[[str], bool], hint: str
) -> Callable[[str], tuple[str, int]]:
    needed = re.compile(hint)

    def replace(text: str) -> tuple[str, int]:
        if not needed.search(text):
            return text, 0
        count = 0

        def one(match: re.Match[str]) -> str:
            nonlocal count
            if not is_valid(match.group()):
                return match.group()
            count += 1
            return placeholder

        return pattern.sub(one, text), count

    return replace


def _is_public_address(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def _mask_addresses(text: str) -> tuple[str, int]:
    text, four = _replace_ipv4(text)
    text, six = _replace_ipv6(text)
    return text, four + six


def _has_luhn_checksum(text: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 16 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _has_iban_checksum(text: str) -> bool:
    """ISO 7064 MOD 97-10, as ISO 13616 requires."""
    plain = text.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _is_phone(text: str) -> bool:
    return 8 <= sum(map(str.isdigit, text)) <= 15


_replace_ipv4 = _replace(IPV4, "192.0.2.1", _is_public_address, r"[0-9]\.[0-9]")
_replace_ipv6 = _replace(IPV6, "2001:db8::1", _is_public_address, r"[0-9A-Fa-f]:[0-9A-Fa-f]{0,4}:")
MASKS: dict[str, Callable[[str], tuple[str, int]]] = {
    "email": _mask_emails,
    "ip": _mask_addresses,
    "phone": _replace(PHONE, "+1 555 0100", _is_phone, r"[0-9][ .)-]?[0-9]{2}"),
    "card": _replace(CARD, "4000 0000 0000 0002", _has_luhn_checksum, r"[0-9]{4}[ -]?[0-9]{4}"),
    "iban": _replace(IBAN, "GB33 BUKB 2020 1555 5555 55", _has_iban_checksum, r"[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4}"),
}


class PersonalDataFilter(Filter):
    """Replaces personal data with placeholders, and can drop documents that consist mostly of such data."""

    kind: Literal["personal_data"]
    mask: tuple[Kind, ...] = Field(default=("email", "ip", "iban", "card", "phone"), min_length=1)
    """Kinds of data to replace: mail and IP addresses, telephone, card and bank account numbers."""
    max_masked_per_word: NonNegativeFloat | None = None
    """Maximum number of replacements per word; address lists and directories exceed 0.1. Null drops nothing."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "personal_data", "max_masked_per_word", "above", lambda text, own: own.masked_per_word(text), basis="spaces"
        ),
    )

    def edit(self, text: Text) -> Text:
        """Returns the text with placeholders."""
        masked, found = self._masked(text)
        return text.edited(masked, found) if found else text

    def masked_per_word(self, text: Text) -> float:
        """The number of replacements per word."""
        return self._masked(text)[1].total() / max(1, len(text.numbers))

    def _masked(self, text: Text) -> tuple[str, Counter[str]]:
        return text.once(id(self), lambda: mask(text.text, self.mask))
