"""Writes ``docs/configuration.md`` from the schemas: run ``python docs/write_configuration.py`` after changing a key.

``tests/habits/test_docs.py`` fails if the page is not what the schemas give.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from megalite.config.deepspeed_keys import OWNED_BY_YAML, SECTIONS, WIRES
from megalite.config.schema import RunConfig
from megalite.corpus.prepare.recipe import Recipe
from megalite.posttraining.schema import PreferenceRun, SftRun
from megalite.tokenizer.sample.mix import Mix

PAGE = Path(__file__).with_name("configuration.md")
Schema = dict[str, Any]
STRING: Schema = {"type": "string"}

INTRODUCTION = """\
# Configuration reference

Every key of every configuration file: type, unit, default and meaning. This page is generated from the schemas by
`python docs/write_configuration.py`; do not edit it by hand.

- Unknown keys are errors, and so are values out of range. The message names the file, the key and the nearest known key.
- `section.key=value` on the command line overrides a key of a run or tuning file: `optimizer.lr=3e-4`,
  `'data.train=[data/a, data/b]'`. The value is read as YAML.
- A key without a default is required. `null` and an omitted key mean the same unless the default is another value.
- Numbers may be written as `3e-4`. `.inf` and `.nan` are refused, and so are `true` and `false` for a number.
- A number without a unit is a ratio, a share or a size of the model. 2^27 is 134,217,728; 10^9 is a billion.
"""


@dataclass(frozen=True)
class FileKind:
    """One kind of configuration file: its schema, what reads it, and a complete example."""

    name: str
    schema: type[BaseModel]
    text: str
    example: str


FILE_KINDS = (
    FileKind(
        "Run",
        RunConfig,
        "Pretraining, read by `pretrain.py --config`. The file says what is trained; the [DeepSpeed JSON](#deepspeed-json)\n"
        "says how memory and communication are organised.",
        """\
run: {name: small, seed: 1234}
model:
  vocab_size: 32768
  hidden_size: 512
  intermediate_size: 1408
  num_hidden_layers: 8
  num_attention_heads: 8
  num_key_value_heads: 4
data:
  train: [{prefix: data/web/train, weight: 0.9}, {prefix: data/math/train, weight: 0.1}]
  valid: data/web/valid
  tokenizer: data/tokenizer
  sequence_length: 1024
batch: {micro_batch_size: 8, global_batch_size: 64}
optimizer: {lr: 1e-3}
schedule: {warmup_steps: 200, decay: cosine}
training: {steps: 20000}
""",
    ),
    FileKind(
        "Recipe",
        Recipe,
        "A corpus, read by `tools/prepare_corpus.py --recipe`.",
        """\
sources:
  - {kind: files, paths: ["crawl/*.warc.gz"]}
filters:
  - {kind: language, keep: [en]}
  - {kind: gopher_quality}
  - {kind: c4_quality, min_sentences: null}   # null turns a rule off
dedup: {threshold: 0.8}
decontaminate: {against: ["eval/*.jsonl"]}
tokenize:
  train: {vocab_size: 32768}
""",
    ),
    FileKind(
        "Fine-tuning",
        SftRun,
        "Supervised fine-tuning, read by `tools/sft.py --config`.",
        """\
run: {name: small-sft}
model: {path: runs/small/step-020000/hf}
data: {train: chats.jsonl, valid_fraction: 0.05, sequence_length: 1024}
batch: {micro_batch_size: 4, global_batch_size: 32}
optimizer: {lr: 2e-5}
training: {epochs: 2}
""",
    ),
    FileKind(
        "Preference tuning",
        PreferenceRun,
        "DPO, KTO or GRPO, read by `tools/preferences.py --config`.",
        """\
run: {name: small-dpo}
model: {path: runs/small-sft/hf}
data: {train: pairs.jsonl, sequence_length: 1024}
batch: {micro_batch_size: 2, global_batch_size: 16}
optimizer: {lr: 5e-7}
training: {epochs: 1}
preference: {method: dpo, beta: 0.1}
""",
    ),
    FileKind(
        "Tokenizer mix",
        Mix,
        "The text of a tokenizer, read by `tools/train_tokenizer.py --mix`.",
        """\
sources:
  - {name: web, input: ["data/web/train-*.jsonl.zst"], weight: 3}
  - {name: code, input: ["data/code/train-*.jsonl.zst"], weight: 1}
""",
    ),
)


def page() -> str:
    """The whole page."""
    written: dict[str, Schema] = {}  # heading -> schema of its keys
    contents, parts = [], []
    for kind in FILE_KINDS:
        blocks = [f"## {kind.name}", kind.text, f"```yaml\n{kind.example}```"]
        links = []
        for heading, schema in _sections(kind):
            links.append(_link(heading))
            blocks += [f"### {heading}", *_section(kind, heading, schema, written)]
        contents.append(f"- [{kind.name}](#{anchor(kind.name)}): " + ", ".join(links))
        parts.append("\n\n".join(blocks))
    contents.append("- [DeepSpeed JSON](#deepspeed-json)")
    return "\n\n".join([INTRODUCTION.strip(), "\n".join(contents), *parts, _deepspeed()]) + "\n"


def anchor(heading: str) -> str:
    """The fragment that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _link(heading: str) -> str:
    return f"[{heading.partition(' (')[0]}](#{anchor(heading)})"


def _heading(path: str, kind: FileKind, tag: str = "") -> str:
    shown = f"`{path}`" + (f" `kind: {tag}`" if tag else "")
    return f"{shown} ({kind.name.lower()})" if path else f"Top-level keys ({kind.name.lower()})"


def _sections(kind: FileKind) -> Iterator[tuple[str, Schema]]:
    """Heading and schema of every section of a file, depth first."""
    root = kind.schema.model_json_schema()

    def below(path: str, schema: Schema, tag: str = "") -> Iterator[tuple[str, Schema]]:
        keys = {key: value for key, value in schema["properties"].items() if key != "kind"}
        nested = [
            (f"{path}.{key}".lstrip("."), ref, tag) for key, value in keys.items() for ref, tag in _references(value)
        ]
        if path or not all(map(_references, keys.values())):
            yield _heading(path, kind, tag), schema
        for dotted, name, own_tag in nested:
            yield from below(dotted, root["$defs"][name], own_tag)

    for heading, schema in below("", root):
        yield heading, schema | {"$defs": root["$defs"]}


def _references(value: Schema) -> list[tuple[str, str]]:
    """Names of the sections that a key holds, each with the ``kind`` that selects it (empty if there is one section)."""
    if "discriminator" in value:
        tags = {ref: tag for tag, ref in value["discriminator"]["mapping"].items()}
        return [(item["$ref"].rpartition("/")[2], tags[item["$ref"]]) for item in value["oneOf"]]
    if "$ref" in value:
        return [(value["$ref"].rpartition("/")[2], "")]
    inner = [*value.get("anyOf", ()), *value.get("allOf", ())]
    if isinstance(value.get("items"), dict):
        inner.append(value["items"])
    return [found for item in inner for found in _references(item)]


def _section(kind: FileKind, heading: str, schema: Schema, written: dict[str, Schema]) -> Iterator[str]:
    """The text and the table of a section, or a reference to one with the same keys."""
    keys = {key: value for key, value in schema["properties"].items() if key != "kind"}
    for other, known in written.items():
        if len(keys) > 1 and keys.items() <= known.items():
            without = [f"`{key}`" for key in known if key not in keys]
            yield f"Same keys as {_link(other)}" + (f", without {', '.join(without)}" if without else "") + "."
            return
    if heading.startswith("`"):
        yield _prose(schema["description"])
    written[heading] = keys
    rows = ["| key | type | unit | default | meaning |", "|---|---|---|---|---|"]
    for key, value in keys.items():
        required = key in schema.get("required", ())
        path = heading.partition("`")[2].partition("`")[0] if heading.startswith("`") else ""
        links = [_link(_heading(f"{path}.{key}".lstrip("."), kind, tag)) for _, tag in _references(value)]
        shown = ("section " if len(links) == 1 else "one of ") + ", ".join(links) if links else _type(value)
        if links and "items" in value:
            shown = "list; each item is a " + shown if len(links) == 1 else "list; each item is " + shown
        default = "required" if required else _default(value)
        meaning = value.get("description") or schema["$defs"][_references(value)[0][0]]["description"]
        cells = (f"`{key}`", shown, _unit(value), default, _prose(meaning))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    yield "\n".join(rows)


def _prose(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _type(value: Schema) -> str:
    """A type in plain words, with its bounds."""
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_type(item) for item in value["anyOf"]))
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{item}`" for item in value["enum"])
    name = value.get("type", "value")
    if name in ("integer", "number"):
        return name + _bounds(value, name == "integer")
    if name == "string" and "pattern" in value:
        return f"string matching `{value['pattern']}`"
    if name == "object":
        return f"mapping from {_type(value.get('propertyNames', STRING))} to {_type(value['additionalProperties'])}"
    if name == "array":
        if "prefixItems" in value:
            return f"list of {len(value['prefixItems'])}: {_type(value['prefixItems'][0])}"
        return ("non-empty " if value.get("minItems") else "") + f"list of {_type(value['items'])}"
    return "`null`" if name == "null" else str(name)


def _bounds(value: Schema, whole: bool) -> str:
    least, above = value.get("minimum"), value.get("exclusiveMinimum")
    most, below = value.get("maximum"), value.get("exclusiveMaximum")
    if whole:
        least = above + 1 if above is not None else least
        most = below - 1 if below is not None else most
        above = below = None
    signs = (("≥", least), (">", above), ("≤", most), ("<", below))
    return "".join(f", {sign} {_number(limit)}" for sign, limit in signs if limit is not None).replace(",", "", 1)


def _number(limit: float) -> str:
    if abs(limit) >= 1000 and limit == int(limit):
        for base in (10, 2):
            power = round(len(f"{abs(int(limit)):b}") - 1 if base == 2 else len(str(abs(int(limit)))) - 1)
            if base**power == abs(limit):
                return f"{'-' if limit < 0 else ''}{base}^{power}"
        return f"{int(limit):,}"
    return f"{limit:g}"


def _unit(value: Schema) -> str:
    inner = [*value.get("anyOf", ()), *value.get("prefixItems", ())]
    inner += [value[key] for key in ("items", "additionalProperties") if isinstance(value.get(key), dict)]
    return value.get("unit") or next((unit for item in inner if (unit := _unit(item))), "")


def _default(value: Schema) -> str:
    default = value.get("default", {})
    if isinstance(default, dict) and default:
        return "its defaults"
    if isinstance(default, list) and default and isinstance(default[0], dict):
        default = [{"kind": item["kind"]} for item in default]
    return f"`{default}`" if isinstance(default, str) else "`" + json.dumps(default).replace('"', "") + "`"


def _deepspeed() -> str:
    lines = [
        "## DeepSpeed JSON",
        "Read by `--ds_config`. It owns memory and communication; the meaning of its keys is in DeepSpeed's documentation.\n"
        'The keys of the second group repeat facts of the YAML: leave them out, write `"auto"`, or write the same value.\n'
        "Unknown keys are errors, because DeepSpeed ignores them silently. `ds_configs/` has one file for each ZeRO stage.",
        "| group | top-level keys |\n|---|---|\n"
        f"| owned by the JSON | {_keys(WIRES)} |\n| owned by the YAML | {_keys(OWNED_BY_YAML)} |",
        "| section | keys |\n|---|---|\n"
        + "\n".join(f"| `{section}` | {_keys(keys)} |" for section, keys in SECTIONS.items()),
    ]
    return "\n\n".join(lines)


def _keys(keys: frozenset[str]) -> str:
    return ", ".join(f"`{key}`" for key in sorted(keys))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
