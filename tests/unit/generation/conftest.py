"""Models that the generation tests share; no test changes them."""

from pathlib import Path

import pytest
from chats import write_model
from stories import write_stories

from megalite.generation.text_model import TextModel
from megalite.huggingface.load import load_model


@pytest.fixture(scope="session")
def stories_folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published model of 260K parameters."""
    return write_stories(shared_data / "models" / "stories260K", tmp_path_factory.mktemp("stories") / "hf")


@pytest.fixture(scope="session")
def stories(stories_folder: Path) -> TextModel:
    return TextModel(*load_model(str(stories_folder)))


@pytest.fixture(scope="session")
def talker_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose tokenizer has a chat template."""
    return write_model(tmp_path_factory.mktemp("talker") / "hf", positions=128)


@pytest.fixture(scope="session")
def talker(talker_folder: Path) -> TextModel:
    return TextModel(*load_model(str(talker_folder)))
