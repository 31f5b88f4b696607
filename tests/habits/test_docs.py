"""The documentation: generated from the schemas where it can be, linked without gaps, and validated examples."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from megalite.config.explain import validate

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted(REPOSITORY.glob("docs/*.md"))]
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\[[^]\n]+\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
WITHOUT_UNIT = {"seed", "shuffle_seed", "rank", "hidden_size", "intermediate_size", "head_dim"}
WITHOUT_UNIT |= {"num_attention_heads", "num_key_value_heads"}


def _load_generator() -> Any:
    spec = importlib.util.spec_from_file_location("write_configuration", REPOSITORY / "docs/write_configuration.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generator = _load_generator()


def test_the_configuration_page_is_what_the_schemas_give() -> None:
    assert generator.PAGE.read_text() == generator.page(), "run python docs/write_configuration.py"


@pytest.mark.parametrize("kind", generator.FILE_KINDS, ids=lambda kind: kind.name)
def test_every_key_has_a_meaning_and_every_count_a_unit(kind: Any) -> None:
    for heading, schema in generator._sections(kind):
        for key, value in schema["properties"].items():
            if key == "kind":
                continue
            nested = [schema["$defs"][name] for name, _ in generator._references(value)]
            meaning = value.get("description") or "".join(item["description"] for item in nested)
            assert meaning.endswith("."), f"{heading}: {key} has no meaning, or one without a full stop"
            counts = "integer" in generator._type(value) and not nested
            assert not counts or key in WITHOUT_UNIT or generator._unit(value), f"{heading}: {key} has no unit"


@pytest.mark.parametrize("kind", generator.FILE_KINDS, ids=lambda kind: kind.name)
def test_every_example_of_the_configuration_page_is_valid(kind: Any) -> None:
    validate(kind.schema, yaml.safe_load(kind.example), kind.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(BLOCK.sub("", page.read_text())):
        file, _, fragment = target.partition("#")
        if "://" in target:
            continue
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), f"{page.name} links to {target}"
        if fragment:
            headings = HEADING.findall(BLOCK.sub("", linked.read_text()))
            assert fragment in map(generator.anchor, headings), f"{page.name} links to {target}"


def test_the_readme_has_at_most_250_lines() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 250


@pytest.mark.parametrize("page", [page for page in PAGES if page != generator.PAGE], ids=lambda page: page.name)
def test_every_yaml_of_a_page_has_keys_of_its_schema(page: Path) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    for values in map(yaml.safe_load, blocks):
        kind = next(kind for kind in generator.FILE_KINDS if values.keys() <= kind.schema.model_fields.keys())
        example = yaml.safe_load(kind.example)
        for section, keys in values.items():
            below = example.get(section)
            example[section] = below | keys if isinstance(below, dict) else keys
        validate(kind.schema, example, page.name)
