"""C4's rules (Raffel et al. 2020, arXiv:1910.10683, section 2.2): remove lines, then judge the remaining text."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from megalite.config.bounds import unit
from megalite.corpus.filters.rule import CharacterCount, Count, Filter, LineCount, Rule, WordCount
from megalite.corpus.words.languages import ENGLISH, language
from megalite.corpus.words.punctuation import LINE_END, SENTENCE_END
from megalite.corpus.words.words import Text

CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
LINE_ENDS = (".", "?", "!", '"', "'")
"""For English, as in the paper."""
CLOSING = "\"'”’“»«›‹」』"
"""Closing quotation marks of all languages: German closes with “, Danish with «."""
ALL_LINE_ENDS = (*sorted(LINE_END), *CLOSING)
SENTENCE = re.compile(f"[{re.escape(''.join(sorted(SENTENCE_END)))}]+[{CLOSING}]*(?=\\s|$)")
RUN_ON_SENTENCE = re.compile(f"[{re.escape(''.join(sorted(SENTENCE_END)))}]+")
"""For languages without a space after the mark."""
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


@dataclass(frozen=True)
class Lines:
    """A document after the line rules."""

    kept: list[str]
    sentences: int
    lorem_ipsum: int
    """Lines with the phrase."""
    curly_brackets: int
    """Lines with a curly bracket."""
    removed: int
    """Nonempty lines that are not kept."""


class C4Quality(Filter):
    """C4's rules: removes lines without a final mark, short lines and boilerplate, then judges the rest.

    Null turns a rule off. In languages other than English, any mark that ends a sentence may end a line, and words are
    counted only if the language separates them with spaces. The phrases of policies are English.
    """

    kind: Literal["c4_quality"]
    remove_citations: bool = True
    """Remove citation marks such as ``[1]`` and ``[citation needed]``."""
    need_line_end: bool = True
    """Remove lines that do not end in ``.``, ``?``, ``!`` or a quotation mark, and lines that end in an ellipsis."""
    min_words_per_line: WordCount | None = 3
    """Remove lines with fewer words."""
    longest_word: CharacterCount | None = 1000
    """Remove lines that contain a longer word."""
    remove_javascript: bool = True
    """Remove lines that contain "javascript": most ask the reader to turn it on."""
    remove_policies: bool = True
    """Remove lines about cookies, privacy and terms of use."""
    max_lorem_ipsum: LineCount | None = 0
    """Maximum number of lines with placeholder text."""
    max_curly_brackets: LineCount | None = 0
    """Maximum number of lines with a curly bracket, a sign of code."""
    min_sentences: Annotated[Count, unit("sentences")] | None = 5
    """Minimum number of sentences in the lines that remain."""

    PREFIX: ClassVar[str] = "c4_"
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("lorem_ipsum", "max_lorem_ipsum", "above", lambda text, own: own.lines(text).lorem_ipsum, "count"),
        Rule("curly_bracket", "max_curly_brackets", "above", lambda t, own: own.lines(t).curly_brackets, "count"),
        Rule(
            "few_sentences",
            "min_sentences",
            "below",
            lambda text, own: own.lines(text).sentences,
            "count",
            "sentence marks",
        ),
    )

    def edit(self, text: Text) -> Text:
        """Returns the text without the removed lines."""
        lines = self.lines(text)
        if not lines.removed and "\n".join(lines.kept) == text.text:
            return text
        return text.edited("\n".join(lines.kept).strip(), Counter(c4_line=lines.removed))

    def lines(self, text: Text) -> Lines:
        """Applies the line rules, once per text."""
        return text.once(id(self), lambda: self._sort_lines(text))

    def _sort_lines(self, text: Text) -> Lines:
        kept: list[str] = []
        facts = language(text.language)
        longest = -1 if self.longest_word is None or not facts.has_spaces else self.longest_word
        shortest = 0 if self.min_words_per_line is None or not facts.has_spaces else self.min_words_per_line
        ends = LINE_ENDS if text.language == ENGLISH else ALL_LINE_ENDS if facts.has_sentence_marks else ("",)
        sentences = lorem_ipsum = curly_brackets = filled = 0
        for line in map(str.strip, text.text.splitlines()):
            words = line.split()
            filled += bool(words)
            if 0 <= longest < len(line) and max(map(len, words)) > longest:
                continue
            if self.remove_citations and "[" in line:
                line = CITATION.sub("", line)
            if self.need_line_end and (not line.endswith(ends) or line.endswith("...")):
                continue
            if len(words) < shortest:
                continue
            lower = line.lower()
            # Lines that drop the whole document are counted before they could be removed, in the order of the original.
            lorem_ipsum += "lorem ipsum" in lower
            if self.remove_javascript and "javascript" in lower:
                continue
            curly_brackets += "{" in line
            if self.remove_policies and any(phrase in lower for phrase in POLICY):
                continue
            sentences += _sentences(line, text)
            kept.append(line)
        return Lines(kept, sentences, lorem_ipsum, curly_brackets, filled - len(kept))


def _sentences(line: str, text: Text) -> int:
    """Counts sentences: in English by spaCy's rules, in other languages by marks with at least one per line."""
    if text.language == ENGLISH:
        return text.table.sentences(line)
    pattern = SENTENCE if language(text.language).has_spaces else RUN_ON_SENTENCE
    return max(bool(line.strip()), len(pattern.findall(line)))


class C4Paragraphs(Filter):
    """mC4's rule: a document needs several long lines (Xue et al. 2021, arXiv:2010.11934, section 3.1)."""

    kind: Literal["c4_paragraphs"]
    min_long_lines: LineCount | None = 3
    """Minimum number of long lines; ``null`` turns the rule off."""
    long_line: CharacterCount = 200
    """Length from which on a line is long."""

    PREFIX: ClassVar[str] = "c4_"
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "few_long_lines",
            "min_long_lines",
            "below",
            lambda text, own: sum(len(line) >= own.long_line for line in text.text.split("\n")),
            "count",
            "spaces",
        ),
    )
