"""Where the table ``megalite/corpus/words/languages.tsv`` comes from, and what it is worth.

``python benchmarks/languages.py --sentences tatoeba_sentences.jsonl.zst`` prints what share of held-out texts has two stop
words, and with ``--table megalite/corpus/words/languages.tsv`` writes the table. The input is Tatoeba's sentences
(tatoeba.org, CC BY 2.0 FR), each with its ISO 639-3 code in ``meta.lang``.

A stop word is a word in lower case that is frequent in two corpora that have nothing in common: among the ``RANK`` most
frequent words of a language's Wikipedia (the lists that jusText ships are ordered by frequency), and at least ``SHARE`` of
the words in Tatoeba. So neither the topics of an encyclopaedia nor the names in example sentences pass. English keeps
Gopher's words. A language has stop words in the table if those that are counted in every other sentence stand, two of them
or more, in ``PASSING`` of the texts made of ten of the other sentences. Word lengths are means over Tatoeba.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from megalite.corpus.words.words import Text, WordTable
from megalite.files.readers.documents import read_documents

RANK, SHARE, FEWEST_SENTENCES, MOST = 200, 0.002, 3, 24
PASSING = 0.8
SENTENCES_A_TEXT = 10
ENGLISH = ["the", "be", "to", "of", "and", "that", "have", "with"]
NAMES = """
afr af Afrikaans, ara ar Arabic, ast ast Asturian, aze az Azerbaijani, bel be Belarusian, ben bn Bengali, bos bs Bosnian,
bre br Breton, bul bg Bulgarian, cat ca Catalan, ceb ceb Cebuano, ces cs Czech, cym cy Welsh, dan da Danish, deu de German,
ell el Greek, eng en English, epo eo Esperanto, est et Estonian, eus eu Basque, fin fi Finnish, fra fr French,
fry fy West_Frisian, gle ga Irish, glg gl Galician, heb he Hebrew, hin hi Hindi, hrv hr Croatian, hun hu Hungarian,
hye hy Armenian, ido io Ido, ind id Indonesian, isl is Icelandic, ita it Italian, jav jv Javanese, kat ka Georgian,
kaz kk Kazakh, kor ko Korean, kur ku Kurdish, lat la Latin, lit lt Lithuanian, lvs lv Latvian, mal ml Malayalam,
mar mr Marathi, mkd mk Macedonian, nds nds Low_Saxon, nld nl Dutch, nno nn Norwegian_Nynorsk, nob no Norwegian_Bokmal,
oci oc Occitan, pes fa Persian, pms pms Piedmontese, pol pl Polish, por pt Portuguese, ron ro Romanian, rus ru Russian,
slk sk Slovak, slv sl Slovenian, spa es Spanish, sqi sq Albanian, srp sr Serbian, swe sv Swedish, swh sw Swahili,
tam ta Tamil, tel te Telugu, tgl tl Tagalog, tuk tk Turkmen, tur tr Turkish, ukr uk Ukrainian, urd ur Urdu, uzb uz Uzbek,
vie vi Vietnamese, war war Waray_Waray, zsm ms Malay
"""
"""ISO 639-3, the code of the language model, the name of jusText's list."""


def is_lower_case_word(word: str) -> bool:
    """Two letters or more, maybe with vowel signs and apostrophes, no capitals."""
    return (
        sum(map(str.isalpha, word)) >= 2 and word == word.lower() and not any(c.isdigit() or c in "._/-" for c in word)
    )


def counted(sentences: Sequence[str], table: WordTable) -> tuple[Counter[str], Counter[str]]:
    """Occurrences of each word that is not a mark, and sentences with it."""
    counts: Counter[str] = Counter()
    holders: Counter[str] = Counter()
    for sentence in sentences:
        text = Text(sentence, table)
        words = [word for word, is_symbol in zip(text.words, text.is_symbol, strict=True) if not is_symbol]
        counts.update(words)
        holders.update(set(words))
    return counts, holders


def stop_words(sentences: Sequence[str], name: str, table: WordTable) -> list[str]:
    """Those that both corpora have, in Wikipedia's order."""
    if name == "English":
        return ENGLISH
    counts, holders = counted(sentences, table)
    content = (resources.files("justext") / f"stoplists/{name}.txt").read_text(encoding="utf-8")
    ranked = dict.fromkeys(word for line in content.splitlines() for word in Text(line, table).words)
    frequent = [word for word in ranked if is_lower_case_word(word)][:RANK]
    enough = SHARE * counts.total()
    return [word for word in frequent if counts[word] >= enough and holders[word] >= FEWEST_SENTENCES][:MOST]


def held_out(sentences: Sequence[str], table: WordTable) -> list[Text]:
    """Texts of some sentences in a row."""
    starts = range(0, len(sentences), SENTENCES_A_TEXT)
    return [Text(" ".join(sentences[start : start + SENTENCES_A_TEXT]), table) for start in starts]


def rows(sentences: dict[str, list[str]]) -> Iterator[str]:
    """The lines of the table; prints what each language's words are worth."""
    table = WordTable()
    for iso, code, name in sorted((item.split() for item in NAMES.replace("\n", " ").split(",")), key=lambda i: i[1]):
        known, texts = stop_words(sentences[iso][::2], name, table), held_out(sentences[iso][1::2], table)
        own, english = (sum(len(text.found(w)) >= 2 for text in texts) / len(texts) for w in (known, ENGLISH))
        passes = own >= PASSING
        told = f"own {own:6.1%}, English {english:6.1%}" + ("" if passes else "; too few")
        print(f"{code:<4} {len(texts):3} texts, {len(known):2} words: {told}")
        counts, _ = counted(sentences[iso], table)
        length = sum(len(word) * count for word, count in counts.items()) / counts.total()
        yield f"{code}\t{length:.2f}\t{' '.join(stop_words(sentences[iso], name, table)) if passes else ''}\n"


def main() -> None:
    """Check, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=Path, required=True)
    parser.add_argument("--table", type=Path)
    a = parser.parse_args()
    sentences: dict[str, list[str]] = {}
    for document in read_documents([a.sentences]):
        sentences.setdefault(document.meta["lang"], []).append(document.text)
    lines = list(rows(sentences))
    if a.table is not None:
        a.table.write_text("language\tmean word length\tstop words\n" + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
