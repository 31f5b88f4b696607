"""One small model for all of these tests."""

from pathlib import Path

import pytest
from chats import write_model


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("chat") / "model")


@pytest.fixture(scope="session")
def chat_tokenizer(chat_model: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(chat_model)
