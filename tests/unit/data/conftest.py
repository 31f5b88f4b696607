import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = "the cat sat on a mat and then it ran off to see what was in my old red box by that door".split()


@pytest.fixture(scope="session")
def word_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a word-level tokenizer: every word one id, the end-of-text token last."""
    folder = tmp_path_factory.mktemp("tokenizer")
    vocabulary = {word: number for number, word in enumerate(["<unk>", *WORDS, "<|endoftext|>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """2,000 short documents, some of them empty."""
    path = tmp_path / "corpus.jsonl"
    with path.open("w") as file:
        for number in range(2000):
            words = [WORDS[(number * 7 + place * place) % len(WORDS)] for place in range(number % 37)]
            file.write(json.dumps({"text": " ".join(words), "id": number}) + "\n")
    return path
