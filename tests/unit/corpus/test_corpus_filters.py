import json
from pathlib import Path

import numpy as np
import pytest
from small_corpus import reason_to_drop
from tokenizers import Tokenizer, models, pre_tokenizers

from megalite.config.errors import ConfigError, DataError
from megalite.corpus.classify.classifier import Classifier, Features
from megalite.corpus.filters.c4 import C4Paragraphs, C4Quality
from megalite.corpus.filters.chain import FilterChain
from megalite.corpus.filters.classifier import ClassifierFilter
from megalite.corpus.filters.fineweb import FineWebQuality
from megalite.corpus.filters.gopher import GopherQuality, GopherRepetition
from megalite.corpus.filters.language import LanguageFilter
from megalite.corpus.filters.personal_data import PersonalDataFilter, mask
from megalite.corpus.filters.prose import ProseFilter
from megalite.corpus.filters.rule import Filter
from megalite.corpus.filters.spam import SpamFilter
from megalite.corpus.filters.tokens import TokensPerWord
from megalite.corpus.words.language_model import known_languages, languages_of
from megalite.files.readers.documents import read_documents

GOPHER = GopherQuality(kind="gopher_quality")
REPETITION = GopherRepetition(kind="gopher_repetition")
FINEWEB = FineWebQuality(kind="fineweb_quality")
C4 = C4Quality(kind="c4_quality")
SPAM = SpamFilter(kind="spam")
ALL_MASKS = ("email", "ip", "iban", "card", "phone")


def prose(sentences: int = 12) -> str:
    """Sentences of different words, as good as any."""
    words = [f"{a}{b}lo" for a in "bcdfghklmnprstvw" for b in "aeiouy"]
    pairs = [(words[k], words[-1 - 2 * k], words[k + 30]) for k in range(sentences)]
    return " ".join(f"The {a} and {b} have to {c}{a} with {b}{c} of {a}{b} by {c}." for a, b, c in pairs)


def lines(count: int, end: str = "") -> str:
    return "\n".join(f"Line {chr(97 + k)}{k} is about the thing and that {k}{end}" for k in range(count))


@pytest.mark.parametrize(
    ("rules", "text", "reason"),
    [
        (GOPHER, prose(), None),
        (GOPHER, " ".join(prose().split()[:49]), "gopher_few_words"),
        (GOPHER, "the of to a is " * 20, "gopher_short_words"),
        (GOPHER, "the extraordinarily institutionalisation " * 30, "gopher_long_words"),
        (GOPHER, prose() + " #" * 30, "gopher_hashes"),
        (GOPHER, prose() + " ok..." * 40, "gopher_ellipses"),
        (GOPHER, "\n".join(f"- {line}" for line in lines(20).split("\n")), "gopher_bullet_lines"),
        (GOPHER, lines(10) + "\n" + "\n".join(["and that is the one more of it..."] * 5), "gopher_ellipsis_lines"),
        (GOPHER, "the 1234 and 5678 " * 30, "gopher_few_lettered_words"),
        (GOPHER, "lorem ipsum dolor sit amet " * 20, "gopher_few_stop_words"),
        (REPETITION, prose(), None),
        (REPETITION, "", "gopher_empty"),
        (REPETITION, "\n\n".join(["a b"] * 4 + [prose()] * 1 + ["a b"] * 3), "gopher_duplicate_paragraphs"),
        (REPETITION, prose(6) + "\n\n" + prose(6) + "\n\nx\n\ny\n\nz", "gopher_duplicate_paragraph_characters"),
        (REPETITION, "\n".join(["one", "two", "three", "one", "two", prose(), "one"]), "gopher_duplicate_lines"),
        (REPETITION, prose(6) + "\n" + prose(6) + "\nx\ny\nz", "gopher_duplicate_line_characters"),
        (REPETITION, " ".join(f"wow great w{k}" for k in range(40)), "gopher_top_2_gram"),
        (REPETITION, prose(4) + " " + prose(4), "gopher_duplicate_5_grams"),
        (FINEWEB, prose(), None),
        (FINEWEB, " \n ", "fineweb_empty"),
        (FINEWEB, lines(30), "fineweb_few_ended_lines"),
        (FINEWEB, "\n".join(f"Short {k}." for k in range(20)), "fineweb_short_lines"),
        (
            FINEWEB,
            prose() + "\n" + "A line that comes twice, word for word.\n" * 2,
            "fineweb_duplicate_line_characters",
        ),
        (FINEWEB, "\n".join(f"Oh{k} " + "x" * 40 + "." for k in range(20)), "fineweb_line_breaks"),
        (C4, prose(), None),
        (C4, prose() + "\nThis is lorem ipsum for you.", "c4_lorem_ipsum"),
        (C4, prose() + "\nThis is {code} for you.", "c4_curly_bracket"),
        (C4, prose(4), "c4_few_sentences"),
        (C4Paragraphs(kind="c4_paragraphs"), prose(), "c4_few_long_lines"),
        (SPAM, prose(), None),
        (SPAM, "Dear friend, click here to claim your cash prize, act now, call now, risk-free", "spam_offers"),
        (SPAM, "see http://a.b/c and www.x.y for more " * 4, "spam_links"),
        (SPAM, "pay $5 or $6 or $7 and you get some", "spam_money"),
        (SPAM, "Hello!!! World!!!", "spam_exclamation_marks"),
        (SPAM, "Great place! WOW! See www.x.y for more!", None),
        (SPAM, "THIS MAIL SHOUTS AT YOU WITH CAPITAL LETTERS " * 3, "spam_capital_words"),
        (SPAM, "mattress shop mattress store mattress sale best mattress " * 4, "spam_top_word"),
    ],
)
def test_each_rule_drops_what_it_is_for(rules: Filter, text: str, reason: str | None) -> None:
    assert reason_to_drop(text, [rules]) == reason


def test_a_threshold_is_the_last_number_that_passes() -> None:
    text = " ".join(["word the and"] * 20)
    assert reason_to_drop(text, [ProseFilter(min_words=60, max_words=60)]) is None
    assert reason_to_drop(text, [ProseFilter(min_words=61)]) == "few_words"
    assert reason_to_drop(text, [ProseFilter(max_words=59)]) == "many_words"


def test_c4_takes_out_lines_and_later_filters_see_what_is_left() -> None:
    text = (
        f"{prose()}\nno full stop here\nTwo words.\nPlease turn on Javascript to go on.\nWe have a privacy policy for you.\n"
        f"It ends so...\nA fact [12] is a fact [citation needed].\n{'x' * 1001} is a long word."
    )
    verdict = FilterChain([C4, ProseFilter(min_words=1)]).judge(text)
    assert verdict.text == f"{prose()}\nA fact  is a fact ."
    assert verdict.edits == {"c4_line": 6}
    assert verdict.reasons == []


def test_all_reasons_are_given_in_the_order_of_the_recipe() -> None:
    chain = FilterChain([GOPHER, FINEWEB, REPETITION])
    verdict = chain.judge("spam spam spam spam\n" * 10)
    assert verdict.reasons[:2] == ["gopher_few_words", "gopher_few_stop_words"]
    assert verdict.reasons[2:5] == [
        "fineweb_few_ended_lines",
        "fineweb_short_lines",
        "fineweb_duplicate_line_characters",
    ]
    assert verdict.reason == "gopher_few_words"
    assert chain.reasons(verdict.scores) == verdict.reasons
    first = chain.judge("spam spam spam spam\n" * 10, ask_all=False)
    assert first.reasons == ["gopher_few_words"]
    assert np.isnan(first.scores[1:]).all()


def test_rules_that_are_off_are_not_asked_unless_all_are() -> None:
    lenient = ProseFilter(**dict.fromkeys([rule.key for rule in ProseFilter.RULES]))
    assert FilterChain([lenient]).judge("x").scores == []
    verdict = FilterChain([lenient], every_rule=True).judge("x")
    assert len(verdict.scores) == len(ProseFilter.RULES)
    assert verdict.reasons == []


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="rule 'spam_capital_words' occurs twice"):
        FilterChain([SPAM, SPAM])


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to jane.doe+x@mail.example.co.uk, please.", "Write to email@example.com, please."),
        ("a@b is no address, and neither is @home or me@", None),
        ("two: a@b.org,c@d.org", "two: email@example.com,email@example.com"),
        ("server 8.8.8.8 and 10.0.0.1 and 300.1.1.1", "server 192.0.2.1 and 10.0.0.1 and 300.1.1.1"),
        ("version 1.2.3 of 2024", None),
        ("from (IDENT:squid@[194.7.1.2])", "from (IDENT:email@example.com)"),
        ("dns 2001:4860:4860::8888 at 12:30:45", "dns 2001:db8::1 at 12:30:45"),
        ("call +44 20 7946 0958 or (212) 736-5000 now", "call +1 555 0100 or +1 555 0100 now"),
        ("in 1999-2004, 12345678 people, ISBN 978-3-16-148410-0, 3.14159265", None),
        ("card 4111 1111 1111 1111, not 4111 1111 1111 1112", "card 4000 0000 0000 0002, not 4111 1111 1111 1112"),
        ("pay DE89 3704 0044 0532 0130 00 today", "pay GB33 BUKB 2020 1555 5555 55 today"),
    ],
)
def test_personal_data_is_masked_and_nothing_else(text: str, masked: str | None) -> None:
    found, counts = mask(text, ALL_MASKS)
    assert found == (masked or text)
    assert bool(counts) == (masked is not None)
    assert mask(found, ("email", "ip"))[0] == found or masked is not None


def test_masking_takes_linear_time_and_is_counted_in_kept_text() -> None:
    for nasty in ("a" * 200_000, "a." * 100_000 + "@", "@" * 100_000, "1-" * 100_000, "1:" * 100_000):
        mask(nasty, ALL_MASKS)
    verdict = FilterChain([PersonalDataFilter(kind="personal_data")]).judge("Mail me: a@b.org or c@d.org. Thanks!")
    assert verdict.text == "Mail me: email@example.com or email@example.com. Thanks!"
    assert verdict.edits == {"email": 2}
    crowded = PersonalDataFilter(kind="personal_data", max_masked_per_word=0.2)
    assert reason_to_drop("a@b.org c@d.org e@f.org", [crowded]) == "personal_data"


def test_languages_are_told_apart_by_the_model_in_the_wheel() -> None:
    samples = {
        "en": "This is a house by the river.",
        "de": "Das ist ein Haus am Fluss und nicht am See.",
        "fr": "C'est une maison au bord de la rivière.",
        "ru": "Это дом у реки.",
        "zh": "这是河边的一座房子。",
    }
    for code, text in samples.items():
        assert next(iter(languages_of(text))) == code
        kept = reason_to_drop(text, [LanguageFilter(kind="language", keep=(code,), min_probability=0.5)])
        assert kept is None
        assert reason_to_drop(text, [LanguageFilter(kind="language", keep=("fi",))]) == "language"
    assert len(known_languages()) == 176
    with pytest.raises(ConfigError, match="keep 'english': not a code of the model"):
        FilterChain([LanguageFilter(kind="language", keep=("english",))])


def test_the_language_of_a_long_text_needs_two_samples() -> None:
    menu, body = (
        "Home About Contact Login " * 5,
        "Dies ist ein langer deutscher Text über das Leben auf dem Land. " * 200,
    )
    assert next(iter(languages_of(menu + body, sample=400))) == "de"


def test_languages_of_real_sentences(shared_data: Path) -> None:
    right = total = 0
    names = {"eng": "en", "deu": "de", "fra": "fr", "spa": "es", "rus": "ru", "jpn": "ja", "fin": "fi", "tur": "tr"}
    for document in read_documents([shared_data / "multilingual/tatoeba_sentences.jsonl.zst"]):
        code = names.get(document.meta["lang"])
        if code and len(document.text) >= 50:
            total += 1
            right += next(iter(languages_of(document.text)), None) == code
    assert total > 500
    assert right / total > 0.95


def test_tokens_for_a_word_are_counted_by_the_tokenizer_named(tmp_path: Path) -> None:
    characters = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    characters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    path = tmp_path / "tokenizer.json"
    characters.save(str(path))
    ruler = TokensPerWord(kind="tokens_per_word", tokenizer=str(path), min_ratio=4.0, max_ratio=6.0)
    assert reason_to_drop("abcd efgh", [ruler]) is None  # nine characters, two words
    assert reason_to_drop("abcdefgh", [ruler]) == "many_tokens_per_word"
    assert reason_to_drop("ab cd", [ruler]) == "few_tokens_per_word"
    with pytest.raises(FileNotFoundError, match=r"no such file; name a tokenizer\.json"):
        FilterChain([TokensPerWord(kind="tokens_per_word", tokenizer="no.json")])
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"not a tokenizer\.json"):
        FilterChain([TokensPerWord(kind="tokens_per_word", tokenizer=str(path.rename(tmp_path / "b.json")))])


def test_a_classifier_filters_by_its_calibrated_probability(tmp_path: Path) -> None:
    features = Features(bits=12, characters=(2,), words=())
    weights = np.zeros(1 << 12, dtype=np.float32)
    weights[features.buckets("zz")] = 10.0
    path = tmp_path / "z.safetensors"
    Classifier(weights, -1.0, 2.0, 0.5, features).save(path)
    none_wanted = ClassifierFilter(kind="classifier", name="zs", model=str(path), max_probability=0.5)
    assert reason_to_drop("abc", [none_wanted]) is None
    assert reason_to_drop("zz", [none_wanted]) == "zs_high"
    some_wanted = none_wanted.model_copy(update={"max_probability": None, "min_probability": 0.5})
    assert reason_to_drop("abc", [some_wanted]) == "zs_low"
    with pytest.raises(FileNotFoundError, match="train one with"):
        FilterChain([none_wanted.model_copy(update={"model": str(tmp_path / "no.safetensors")})])
    (tmp_path / "bad.safetensors").write_bytes(b"junk")
    with pytest.raises(DataError, match="not a classifier"):
        FilterChain([none_wanted.model_copy(update={"model": str(tmp_path / "bad.safetensors")})])


def test_verdicts_equal_datatroves_where_it_is_installed(shared_data: Path) -> None:
    """The same documents are kept, with the same text, by every rule that both have."""
    pytest.importorskip("datatrove", reason="datatrove is not installed; it is not needed for anything but this check")
    pytest.importorskip("spacy", reason="datatrove's filters need spaCy")
    from datatrove.data import Document
    from datatrove.pipeline import filters as theirs

    pairs = [
        (theirs.GopherQualityFilter(), GOPHER),
        (theirs.GopherRepetitionFilter(), REPETITION),
        (theirs.FineWebQualityFilter(), FINEWEB),
        (theirs.C4QualityFilter(), C4),
        (theirs.C4ParagraphFilter(), C4Paragraphs(kind="c4_paragraphs")),
    ]
    files = ["messy/web_docs_ewt_en", "messy/cc_en_head_sample", "messy/email_spamassassin"]
    for name in files:
        for number, document in enumerate(read_documents([shared_data / f"{name}.jsonl.zst"])):
            for their_filter, our_filter in pairs if number % 9 == 0 else ():
                theirs_document = Document(text=document.text, id="")
                result = their_filter.filter(theirs_document)
                verdict = FilterChain([our_filter]).judge(document.text)
                assert (result is True) == (not verdict.reasons), f"{name} {number}: {result}, {verdict.reasons}"
                assert result is not True or theirs_document.text == verdict.text


def test_a_recipe_says_which_filters_in_which_order() -> None:
    from megalite.config.explain import validate
    from megalite.corpus.prepare.recipe import Recipe

    sources = [{"kind": "files", "paths": ["x"]}]
    listed = {"sources": sources, "filters": [{"kind": "spam"}, {"kind": "gopher_quality", "min_words": 7}]}
    recipe = validate(Recipe, listed, "r.yaml")
    assert [type(item) for item in recipe.filters] == [SpamFilter, GopherQuality]
    assert FilterChain(recipe.filters).rules[6][0] == "gopher_few_words"
    assert FilterChain(recipe.filters).rules[6][2] == 7.0
    assert validate(Recipe, {"sources": sources, "filters": {"min_words": 9}}, "r.yaml").filters == (
        ProseFilter(min_words=9),
    )
    assert validate(Recipe, json.loads(recipe.model_dump_json()), "again").filters == recipe.filters
    with pytest.raises(ConfigError, match=r"filters\.0: unknown key 'max_ofers_per_word'; did you mean 'max_offers"):
        validate(Recipe, {"sources": sources, "filters": [{"kind": "spam", "max_ofers_per_word": 1}]}, "r.yaml")
    with pytest.raises(ConfigError, match="gopher_quality"):
        validate(Recipe, {"sources": sources, "filters": [{"kind": "gofer"}]}, "r.yaml")
