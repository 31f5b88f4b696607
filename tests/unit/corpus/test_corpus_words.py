import pytest
from hypothesis import given
from hypothesis import strategies as st

from megalite.corpus.words.ngrams import DUPLICATE, TOP
from megalite.corpus.words.split_words import LONGEST_SPLIT, word_rules
from megalite.corpus.words.words import Text, WordTable, content_digest

TABLE = WordTable()
ANY_PIECE = st.text(st.characters(blacklist_categories=("Zs", "Zl", "Zp", "Cc", "Cs")), min_size=1, max_size=12)
PIECES = ANY_PIECE | st.text("ab.'’-,:;()$%12US\"kmno…", min_size=1, max_size=10)
WORDS = st.lists(st.sampled_from(["a", "bb", "cat", "dogs", ".", "x1"]), max_size=40) | st.lists(
    st.sampled_from(["a", "bb"]), max_size=60
)


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        # Written down from spaCy 3.8's blank English pipeline.
        ("don't", "do|n't"),
        ("cannot.", "can|not|."),
        ("(U.S.)", "(|U.S.|)"),
        ("Mr.Smith's", "Mr.|Smith|'s"),
        ("wed.", "we|d."),
        ("well-known,", "well|-|known|,"),
        ("1,000.50", "1,000.50"),
        ("$5bn/year", "$|5bn|/|year"),
        ("12km.", "12|km|."),
        ("http://a.org/b?c=d,", "http://a.org/b?c=d|,"),
        ("end.Start", "end|.|Start"),
        ("wait...what", "wait|...|what"),
        (":-)", ":-)"),
        ("5pm", "5|pm"),
        ("''''''''", "''|'|''|''|'"),
        ("'" * 12, "''|'|'|'|''|''|'|'|'"),
        ("naïve—très", "naïve|—|très"),
        ("Привет,мир!", "Привет|,|мир|!"),
        ("Co.,Ltd.", "Co.|,Ltd|."),
        ("X.", "X."),
        ("AB.", "AB|."),
    ],
)
def test_pieces_split_as_spacy_splits_them(piece: str, words: str) -> None:
    assert word_rules().split(piece) == words.split("|")


@given(PIECES)
def test_the_words_of_a_piece_are_the_piece(piece: str) -> None:
    assert "".join(word_rules().split(piece)) == piece


def test_spacy_itself_agrees_where_it_is_installed(shared_data: object) -> None:
    spacy = pytest.importorskip("spacy", reason="spaCy is not installed; it is not needed for anything but this check")
    tokenizer = spacy.blank("en").tokenizer

    @given(PIECES)
    def agree(piece: str) -> None:
        assert word_rules().split(piece) == [token.text for token in tokenizer(piece)]

    agree()


def test_a_huge_piece_takes_linear_time() -> None:
    assert len(word_rules().split("(" * 1_000_000)) == 1
    assert "".join(word_rules().split("a.b@" * LONGEST_SPLIT)) == "a.b@" * LONGEST_SPLIT


@given(WORDS)
def test_repeated_ngrams_equal_a_count_word_by_word(words: list[str]) -> None:
    text = Text(" ".join(words), TABLE)
    assert text.words == words
    for n in TOP:
        grams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
        counts = [grams.count(gram) for gram in grams]
        best = grams[counts.index(max(counts))] if grams else ""
        assert text.ngrams.top[n] == len(best) * max(counts, default=0)
    for n in DUPLICATE:
        seen: set[tuple[str, ...]] = set()
        place = characters = 0
        while place + n <= len(words):
            gram = tuple(words[place : place + n])
            characters += sum(map(len, gram)) if gram in seen else 0
            place += n if gram in seen else 1
            seen.add(gram)
        assert text.ngrams.duplicate[n] == characters


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("One. Two! Three?", 3),
        ("No full stop", 1),
        ("He said 'No.' Then left.", 2),
        ("Mr. Smith and Dr. Jones met at 5 p.m. in the U.S. office", 1),
        ("Wait... what? (Yes.) Fine.", 3),
        ('End.  "', 2),
        ('End. "', 1),
        ("", 0),
    ],
)
def test_sentences_of_a_line(line: str, sentences: int) -> None:
    assert TABLE.sentences(line) == sentences


def test_a_full_table_starts_anew_between_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megalite.corpus.words.words.MOST_WORDS", 50)
    table = WordTable()
    for number in range(100):
        table.make_room()
        text = Text(" ".join(f"w{number}x{k}" for k in range(20)), table)
        assert (text.real_words, text.words[3]) == (20, f"w{number}x3")
        assert len(table.words) <= 80


def test_many_words_keep_their_own_nature() -> None:
    table = WordTable()  # more words than its first arrays hold
    text = Text(" ".join(f"w{k} --- {k}" for k in range(5000)), table)
    assert (text.real_words, text.lettered_share) == (10_000, 5000 / 15_000)
    assert text.mean_word_length == sum(len(f"w{k}{k}") for k in range(5000)) / 10_000


def test_a_digest_depends_on_the_words_alone() -> None:
    assert content_digest("Hello,  WORLD!\n") == content_digest("hello world")
    assert content_digest("hello worlds") != content_digest("hello world")
