"""Rules that know a document's language, on real novels and sentences in many of them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from megalite.config.errors import ConfigError
from megalite.corpus.classify.classifier import Classifier, Features
from megalite.corpus.filters.chain import FilterChain
from megalite.corpus.ledger.page import ledger_page
from megalite.corpus.prepare.dry_run import score_corpus
from megalite.corpus.prepare.prepare import prepare_corpus
from megalite.corpus.prepare.recipe import Recipe
from megalite.corpus.words.clean_text import clean_text
from megalite.corpus.words.language_model import known_languages
from megalite.corpus.words.languages import UNPUNCTUATED, UNSPACED, language
from megalite.files.readers.documents import read_documents

NOVELS = "multilingual/novels_de_fr_es_pt.jsonl.zst"
SENTENCES = "multilingual/tatoeba_sentences.jsonl.zst"
GERMAN = "Das ist ein Haus, und die Leute wohnen nicht in der Stadt, sondern auf dem Land. Sie haben einen Garten. " * 6
CHINESE = "".join(f"这是河边的第{number}座房子，他们住在那里。" for number in range(40))
THAI = " ".join(f"นี่คือบ้านหลังที่ {number} ริมแม่น้ำ และพวกเขาอาศัยอยู่ที่นั่น" for number in range(40))


def chain(keep: list[str], *filters: dict[str, Any]) -> FilterChain:
    return of_filters({"kind": "language", "keep": keep}, *filters)


def of_filters(*listed: dict[str, Any]) -> FilterChain:
    sources = [{"kind": "files", "paths": ["x"]}]
    return FilterChain(Recipe.model_validate({"sources": sources, "filters": listed}).filters)


WEB = tuple({"kind": kind} for kind in ("gopher_repetition", "gopher_quality", "c4_quality", "fineweb_quality", "spam"))


def test_the_table_has_the_models_codes_in_lower_case() -> None:
    for code in ("en", "de", "fr", "es", "pt", "it", "ru", "ar", "hi", "tr", "fi", "he", "vi", "uk"):
        words = language(code).stop_words
        assert 8 <= len(set(words)) == len(words) <= 24
        assert all(word == word.lower() and len(word) >= 2 for word in words)
    assert language("en").stop_words == ("the", "be", "to", "of", "and", "that", "have", "with")
    assert language("en").word_length == 1.0
    assert set(known_languages()) >= UNSPACED >= UNPUNCTUATED
    assert not any(language(code).stop_words for code in UNSPACED)


def test_chapters_of_novels_in_five_languages_are_kept(shared_data: Path) -> None:
    """With English stop words not one of 383 chapters was left but a German one."""
    judge = chain(["en", "de", "fr", "es", "pt"], *WEB)
    prose = chain(["en", "de", "fr", "es", "pt"], {"kind": "prose"})
    read, kept = Counter[str](), Counter[str]()
    for number, document in enumerate(read_documents([shared_data / NOVELS])):
        if number % 8 == 0:
            text, code = clean_text(document.text), document.meta["lang"]
            verdict = judge.judge(text)
            read[code] += 1
            kept[code] += not verdict.reasons
            assert verdict.language == code
            assert not {"gopher_few_stop_words", "gopher_long_words", "c4_few_sentences"} & set(verdict.reasons)
            assert prose.judge(text).reasons == []
    assert set(read) == {"de", "fr", "es", "pt"}
    assert all(kept[code] >= 0.7 * read[code] for code in read)


def test_sentences_of_every_language_pass_its_stop_words(shared_data: Path) -> None:
    names = {"deu": "de", "rus": "ru", "tur": "tr", "ara": "ar", "hin": "hi", "fin": "fi", "vie": "vi", "pol": "pl"}
    by_code: dict[str, list[str]] = {}
    for document in read_documents([shared_data / SENTENCES]):
        if document.meta["lang"] in names:
            by_code.setdefault(names[document.meta["lang"]], []).append(document.text)
    judge = chain(["en", *by_code], {"kind": "gopher_quality", "min_words": 20})
    for code, sentences in by_code.items():
        texts = [" ".join(sentences[start : start + 10]) for start in range(0, len(sentences), 10)]
        verdicts = [judge.judge(text) for text in texts]
        assert sum(verdict.language == code for verdict in verdicts) >= 0.98 * len(texts)
        missed = sum("gopher_few_stop_words" in verdict.reasons for verdict in verdicts)
        assert missed <= 0.12 * len(texts), code


def test_lists_and_dumps_fall_in_other_languages_too() -> None:
    judge = chain(["de", "fr"], {"kind": "gopher_quality"})
    listed = " ".join(f"Straßenbahnhaltestelle Bahnhofstraße Hausnummer{number}" for number in range(30))
    assert "gopher_few_stop_words" in judge.judge(listed).reasons
    assert judge.judge(GERMAN).reasons == []


def test_english_is_judged_the_same_beside_other_languages(shared_data: Path) -> None:
    alone, beside = of_filters(*WEB), chain(["en", "de", "zh"], *WEB)
    for number, document in enumerate(read_documents([shared_data / "messy/web_docs_ewt_en.jsonl.zst"])):
        if number % 10 == 0 and (verdict := beside.judge(document.text)).language == "en":
            expected = alone.judge(document.text)
            assert verdict.text == expected.text
            assert verdict.scores[1:] == expected.scores


@pytest.mark.parametrize(("code", "text"), [("zh", CHINESE), ("th", THAI)])
def test_scripts_without_spaces_are_not_judged_by_words(code: str, text: str) -> None:
    judge = chain(["en", code], *WEB, {"kind": "personal_data"})
    verdict = judge.judge(text)
    assert verdict.language == code
    assert verdict.reasons == []
    assert verdict.text == text.strip()
    (told,) = (notice for notice in judge.notices() if "gopher_few_words" in notice)
    for rule in (
        "gopher_top_2_gram",
        "gopher_long_words",
        "gopher_few_stop_words",
        "fineweb_short_lines",
        "spam_links",
    ):
        assert rule in told
    assert any("spam_offers" in notice for notice in judge.notices())
    assert any("c4_few_sentences" in notice for notice in judge.notices()) == (code == "th")
    assert "gopher_duplicate_lines" in judge.judge("\n".join(["这是河边的一座房子。"] * 40)).reasons


def test_one_language_and_english_alone_need_no_notice() -> None:
    assert chain(["en"], *WEB).notices() == []
    assert of_filters(*WEB).notices() == []


def test_a_language_without_stop_words_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"gopher_quality: no stop words are known for 'ko'.*stop_words: \{ko: \[\.\.\.\]\}"
    ):
        chain(["en", "ko"], {"kind": "gopher_quality"})
    with pytest.raises(ConfigError, match="prose: no stop words are known for 'ta'"):
        chain(["ta"], {"kind": "prose"})
    for given in ({"stop_words": {"ko": ["이", "그"]}}, {"min_stop_words": None}, {"stop_words": ["이", "the"]}):
        chain(["en", "ko"], {"kind": "gopher_quality", **given})
    mixed = chain(["en", "de"], {"kind": "gopher_quality", "stop_words": {"de": ["zebra", "quagga"]}})
    assert "gopher_few_stop_words" in mixed.judge(GERMAN).reasons
    with pytest.raises(ConfigError, match="keep 'de' is listed twice"):
        chain(["de", "de"])


def test_a_classifier_judges_the_languages_it_was_trained_on(tmp_path: Path) -> None:
    features = Features(bits=12, characters=(2,), words=())
    path = tmp_path / "all.safetensors"
    Classifier(*(features_weights(features), 9.0), features=features).save(path)
    toxic = {"kind": "classifier", "name": "toxic", "model": str(path), "max_probability": 0.5}
    with pytest.raises(ConfigError, match=r"classifier 'toxic': the recipe keeps en, de; list under languages"):
        chain(["en", "de"], toxic)
    judge = chain(["en", "de"], toxic | {"languages": ["en"]})
    assert judge.judge(GERMAN).reasons == []
    assert judge.judge("This is a house and they live in it with all that they have. " * 5).reasons == ["toxic_high"]


def features_weights(features: Features) -> Any:
    import numpy as np

    return np.zeros(1 << features.bits, dtype=np.float32)


def test_word_lengths_are_compared_within_a_language() -> None:
    judge = chain(["en", "vi", "fi"], {"kind": "gopher_quality", "min_words": 1, "min_stop_words": None})
    index = [name for name, _, _ in judge.rules].index("gopher_short_words")
    finnish = "Suomessa koulutus on kaikille ilmaista, ja yliopistot ovat hyvin arvostettuja koko maailmassa. " * 4
    vietnamese = (
        "Thành phố này không những rộng lớn mà còn nhiều công trình kiến trúc cổ kính trong những khu phố. " * 4
    )
    for text, raw in ((finnish, 6.9), (vietnamese, 3.7)):
        words = text.replace(".", "").replace(",", "").split()
        assert sum(map(len, words)) / len(words) == pytest.approx(raw, abs=0.3)
        assert 3.2 < judge.judge(text).scores[index] < 4.8


def test_c4_takes_the_marks_that_end_a_sentence_in_the_language() -> None:
    judge = chain(["en", "de", "zh"], {"kind": "c4_quality", "min_sentences": 3})
    german = "\n".join(
        ["„Das ist ein Haus und es ist nicht sehr groß.“", "»Wohnst du wirklich in der Stadt?«", "Das ist ohne Ende"]
    )
    verdict = judge.judge(german + "\nSie haben einen Garten, und er ist schön!")
    assert verdict.reasons == []
    assert verdict.text.splitlines()[:2] == german.splitlines()[:2]
    assert "ohne Ende" not in verdict.text
    assert judge.judge(CHINESE).reasons == []


def test_the_ledger_tells_what_was_dropped_by_language(tmp_path: Path) -> None:
    russian = "Это дом у реки, и люди живут там уже очень давно, потому что им там нравится. " * 6
    english = "This is a house by the river, and they have lived in it with all of that for a long time. " * 6
    rows = [GERMAN, russian, english, CHINESE, english.replace(",", ";"), "Das ist kurz."]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    filters = [{"kind": "language", "keep": ["en", "de", "zh"]}, {"kind": "prose"}]
    values = {"sources": [{"kind": "files", "paths": [str(source)]}], "filters": filters, "valid_fraction": 0}
    recipe = Recipe.model_validate(values)
    console = Console(record=True, quiet=False, width=200, file=(tmp_path / "log").open("w"))
    prepare_corpus(recipe, tmp_path / "out", console)
    ledger = json.loads((tmp_path / "out/ledger.json").read_text())
    assert ledger["kept_by_language"] == {"de": 1, "en": 1, "zh": 1}
    assert ledger["dropped_by_language"] == {
        "de": {"few_words": 1}, "en": {"exact_duplicate": 1}, "ru": {"language": 1},
    }  # fmt: skip
    assert "Languages" in ledger_page(ledger["stages"])
    told = console.export_text()
    assert "documents in zh are not judged by few_words" in told
    assert "most frequent reasons" in told
    score_corpus(recipe, tmp_path / "dry", Console(quiet=True))
    dry = json.loads((tmp_path / "dry/ledger.json").read_text())
    assert {key: dry[key] for key in ("kept_by_language", "dropped_by_language")} == {
        key: ledger[key] for key in ("kept_by_language", "dropped_by_language")
    }
