"""Mixes that change during a run, against a simulation sample by sample; epochs; and what a resumed run may change."""

from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from megalite.config.checks import check_run
from megalite.config.errors import ConfigError
from megalite.config.explain import validate
from megalite.config.grid import grid_shape
from megalite.config.mix import MixPhase, mix_phases
from megalite.config.schema import RunConfig
from megalite.data.index_file import token_dtype, write_index
from megalite.data.preprocess.command import preprocess
from megalite.data.preprocess.plan import PreprocessOptions
from megalite.data.samples.blend import BlendedDataset, MixOrder
from megalite.data.samples.epochs import refuse_repetition, source_use
from megalite.data.samples.fingerprint import MODULUS, samples_fingerprint
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.data.samples.history import mix_record, refuse_other_history
from megalite.data.samples.loader import BatchLoader
from megalite.data.samples.proportional import ProportionalDeal
from megalite.data.training_data import open_training_data
from megalite.planning.plan_table import print_plan
from megalite.planning.training_plan import make_plan


def config_of(steps: int = 100, **data: Any) -> RunConfig:
    values = {
        "run": {"name": "x"},
        "model": {
            "vocab_size": 61,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        },
        "data": {"tokenizer": "t", "sequence_length": 16, **data},
        "batch": {"micro_batch_size": 2, "global_batch_size": 8},
        "optimizer": {"lr": 1e-3},
        "training": {"steps": steps},
    }
    config = validate(RunConfig, values, "my.yaml")
    check_run(config, "my.yaml")
    return config


def dataset_of(prefix: Path, tokens: int) -> GPTDataset:
    np.arange(tokens, dtype=token_dtype(100)).tofile(f"{prefix}.bin")
    with Path(f"{prefix}.idx").open("wb") as file:
        write_index(file, token_dtype(100), np.full(tokens // 10, 10, dtype=np.int32))
    return GPTDataset(str(prefix), 8, 1)


WEIGHTS = st.lists(st.one_of(st.integers(1, 12), st.integers(1, 10**6)), min_size=1, max_size=9)


@settings(max_examples=150, deadline=None)
@given(weights=WEIGHTS, start=st.integers(0, 10**12))
def test_a_mix_keeps_its_weights_after_any_number_of_samples(weights: list[int], start: int) -> None:
    deal, total = ProportionalDeal(weights), sum(weights)
    assert deal.largest_lag < (1.0 if len(weights) <= 3 else 1.3)
    counts = deal.counts(start)
    for sample in range(start, start + 150):
        source, own = deal.locate(sample)
        assert own == counts[source]
        counts[source] += 1
        assert sum(counts) == sample + 1
        lag = max(
            abs(count - Fraction(weight * (sample + 1), total)) for count, weight in zip(counts, weights, strict=True)
        )
        assert lag <= deal.largest_lag
    assert deal.counts(start + 150) == counts


@settings(max_examples=80, deadline=None)
@given(data=st.data(), sources=st.integers(1, 5), count=st.integers(1, 4))
def test_stages_equal_a_simulation_sample_by_sample(data: st.DataObject, sources: int, count: int) -> None:
    weights = st.lists(st.integers(0, 50), min_size=sources, max_size=sources).filter(any)
    lengths = data.draw(st.lists(st.integers(1, 90), min_size=count, max_size=count))
    phases = [MixPhase(sum(lengths[:n]), tuple(data.draw(weights))) for n in range(count)]
    order = MixOrder(phases)
    given_so_far = [0] * sources
    for sample in range(sum(lengths) + 60):
        assert order.counts(sample) == given_so_far
        source, own = order.locate(sample)
        current = max((phase for phase in phases if phase.first_sample <= sample), key=lambda s: s.first_sample)
        assert current.weights[source] > 0
        assert own == given_so_far[source]  # goes on where it stopped: nothing twice, nothing left out
        given_so_far[source] += 1
    ends = [phase.first_sample for phase in phases[1:]] + [sum(lengths)]
    for phase, end in zip(phases, ends, strict=True):
        realised = np.subtract(order.counts(end), order.counts(phase.first_sample))
        asked = np.array(phase.weights) / sum(phase.weights) * (end - phase.first_sample)
        assert np.abs(realised - asked).max() < (1.0 if np.count_nonzero(phase.weights) <= 3 else 1.3)
    numbers = data.draw(st.permutations(range(20)))
    assert [MixOrder(phases).locate(n) for n in numbers] == [order.locate(n) for n in numbers]


def test_what_lies_before_a_stage_does_not_depend_on_it() -> None:
    short = MixOrder([MixPhase(0, (3, 1))])
    long = MixOrder([MixPhase(0, (3, 1)), MixPhase(500, (0, 1))])
    assert [short.locate(n) for n in range(500)] == [long.locate(n) for n in range(500)]
    assert {long.locate(n)[0] for n in range(500, 600)} == {1}
    assert long.locate(500) == (1, short.counts(500)[1])


def test_a_blended_sample_is_the_sources_own(tmp_path: Path) -> None:
    datasets = [dataset_of(tmp_path / str(n), 100) for n in range(2)]
    blend = BlendedDataset(datasets, [MixPhase(0, (3, 1)), MixPhase(1000, (1, 9))])
    for sample in (0, 1, 2, 999, 1000, 70_000, 10**9):
        source, own = blend.order.locate(sample)
        assert np.array_equal(blend[sample], datasets[source][own])
        assert np.array_equal(blend.positions(sample), datasets[source].positions(own))


def test_weights_become_whole_numbers_and_beginnings_steps() -> None:
    train = [{"prefix": "web", "weight": 0.7}, {"prefix": "code", "weight": "2e-1"}, {"prefix": "math", "weight": 0}]
    phases = [{"begin": 0.5, "weights": {"web": 2, "math": 4}}, {"begin": 90, "weights": {"math": 1}}]
    config = config_of(train=train, phases=phases)
    assert mix_phases(config.data, config.batch, 100) == (
        MixPhase(0, (7, 2, 0)),
        MixPhase(400, (1, 0, 2)),
        MixPhase(720, (0, 0, 1)),
    )


SOURCES = [{"prefix": "web", "weight": 1}, {"prefix": "math", "weight": 0}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"train": ["web", "web"]}, "data.train lists web twice"),
        ({"train": [{"prefix": "web", "weight": 0}]}, "every source weight 0"),
        ({"train": [{"prefix": "web", "weight": float("inf")}]}, "data.train.0.weight=inf"),
        ({"train": SOURCES}, "math has weight 0 in every phase; remove it"),
        ({"train": SOURCES, "phases": [{"begin": 0.5, "weights": {"mth": 1}}]}, "did you mean 'math'"),
        ({"train": SOURCES, "phases": [{"begin": 0.5, "weights": {"zzz": 1}}]}, "add it there, with weight 0"),
        ({"train": SOURCES, "phases": [{"begin": 0.5, "weights": {"math": 0}}]}, "no source has a weight above 0"),
        (
            {"train": SOURCES, "phases": [{"begin": 1.5, "weights": {"math": 1}}]},
            "give a fraction of the run below 1, or a whole number of steps",
        ),
        ({"train": SOURCES, "phases": [{"begin": 100, "weights": {"math": 1}}]}, "begin=100 is step 100 of 100"),
        ({"train": SOURCES, "phases": [{"begin": 0.001, "weights": {"math": 1}}]}, "is step 0 of 100"),
        (
            {"train": SOURCES, "phases": [{"begin": b, "weights": {"math": 1}} for b in (0.5, 40)]},
            "previous one .step 50.",
        ),
    ],
)
def test_mixes_that_cannot_be_are_refused_in_one_line(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        config_of(**data)
    assert "\n" not in str(error.value)


def test_epochs_are_those_of_the_samples_that_the_run_reads() -> None:
    phases = [{"begin": 0.9, "weights": {"math": 1}}]
    config = config_of(train=SOURCES, phases=phases)  # 100 steps of 8 samples of 16 tokens
    web, math = source_use(config, {"web": 11_520, "math": 320})
    assert (web.taken, math.taken) == (90 * 8 * 16, 10 * 8 * 16)
    assert (web.epochs, math.epochs) == (1.0, 4.0)
    refuse_repetition([web, math])  # four epochs are allowed
    with pytest.raises(ConfigError, match=r"math: the run reads 1,280 tokens of its 310, 4\.13 epochs.*max_epochs: 5"):
        refuse_repetition(source_use(config, {"web": 11_520, "math": 310}))
    allowed = [SOURCES[0], SOURCES[1] | {"max_epochs": 5}]
    refuse_repetition(source_use(config_of(train=allowed, phases=phases), {"web": 11_520, "math": 310}))
    with pytest.raises(ConfigError, match=r"web: the run reads 11,520 tokens of its 11,520, 1 epochs.*max_epochs=0\.5"):
        refuse_repetition(
            source_use(config_of(train=allowed, phases=phases, max_epochs=0.5), {"web": 11_520, "math": 310})
        )


SAVED = mix_record(config_of(train=[{"prefix": "web", "weight": 3}, "math"]))
SUMS = {"web": "aa", "math": "bb"}


def refuses(consumed: int, sums: dict[str, str] | None = None, **data: Any) -> str | None:
    try:
        refuse_other_history("CKPT", consumed, (SAVED, SUMS), (mix_record(config_of(**data)), sums or SUMS))
    except ConfigError as error:
        return str(error)
    return None


def test_a_resume_may_change_only_unread_data() -> None:
    train = [{"prefix": "web", "weight": 3}, "math"]
    assert refuses(400, train=train) is None
    assert refuses(400, train=[{"prefix": "web", "weight": 0.75}, {"prefix": "math", "weight": 0.25}]) is None
    other = refuses(400, train=["web", "math"])
    assert other is not None
    assert "400 samples so far were 3 web : 1 math; this config would have read 1 web : 1 math" in other
    # A phase that begins with the next sample, or later, is free; one that has begun is not.
    phase = {"weights": {"math": 1}}
    assert refuses(400, train=train, phases=[{"begin": 50, **phase}]) is None
    assert refuses(401, train=train, phases=[{"begin": 50, **phase}]) is not None
    # New sources may come in later phases, under any place in the list; the old ones must have their old contents.
    more = [{"prefix": "new", "weight": 0}, *train]
    sums = SUMS | {"new": "cc"}
    assert refuses(400, sums, train=more, phases=[{"begin": 60, "weights": {"new": 1}}]) is None
    changed = refuses(400, SUMS | {"web": "dd"}, train=train)
    assert changed is not None
    assert "the contents of web, math differ now" in changed
    moved = [{"prefix": "moved/web", "weight": 3}, "math"]
    assert refuses(400, {"moved/web": "aa", "math": "bb"}, train=moved) is None


def test_a_new_source_does_not_move_the_samples_of_the_old_ones() -> None:
    before, after = (
        MixOrder([MixPhase(0, (2, 2, 1))]),
        MixOrder([MixPhase(0, (0, 2, 2, 1)), MixPhase(80, (1, 0, 0, 0))]),
    )
    for sample in range(80):
        source, own = before.locate(sample)
        assert after.locate(sample) == (source + 1, own)


def test_a_resume_reads_the_same_samples_on_any_layout(tmp_path: Path) -> None:
    datasets = [dataset_of(tmp_path / str(n), 500) for n in range(3)]
    blend = BlendedDataset(datasets, [MixPhase(0, (3, 1, 0)), MixPhase(30, (1, 2, 2)), MixPhase(72, (0, 0, 1))])
    whole = samples_fingerprint(blend, 0, 96)
    for ranks, micro, stop in ((1, 12, 96), (2, 3, 36), (4, 3, 60), (6, 2, 12)):
        total = 0
        for first, end in ((0, stop), (stop, 96)):  # the second part by loaders that have read nothing before
            loaders = [BatchLoader(blend, micro, 12, rank, ranks) for rank in range(ranks)]
            for consumed in range(first, end, 12):
                for loader in loaders:
                    loader.step_batches(consumed)
            total += sum(loader.fingerprint for loader in loaders)
        assert total % MODULUS == whole


def test_too_many_epochs_are_refused_before_launch(corpus: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    (manifest,) = preprocess([str(corpus)], word_tokenizer, tmp_path / "web", Console(quiet=True))
    prefix, said = str(tmp_path / "web"), StringIO()
    console = Console(file=said, width=200, soft_wrap=True)
    most = 4 * manifest.tokens // (8 * 16)  # steps of 8 samples of 16 tokens
    config = config_of(most, train=prefix, tokenizer=str(word_tokenizer))
    plan = make_plan(config, grid_shape(1, config.parallel), 0)
    data = open_training_data(config, console)
    print_plan(config, plan, console)
    told = f"{most * 128:,} of {manifest.tokens:,} tokens = 4 epochs"
    assert said.getvalue().count(told) == 2
    assert np.array_equal(data.train[7], GPTDataset(prefix, 16, config.run.seed)[7])
    more = config_of(most + 1, train=prefix, tokenizer=str(word_tokenizer))
    for refused in (lambda: open_training_data(more, console), lambda: print_plan(more, plan, console)):
        with pytest.raises(ConfigError, match=r"web: the run reads .*max_epochs=4 allows .*max_epochs: 5 beside"):
            refused()
    missing = config_of(most, train=str(tmp_path / "none"), tokenizer=str(word_tokenizer))
    print_plan(missing, plan, console)  # a plan can be made before the data
    assert f"{most * 128:,} tokens; does not exist yet" in said.getvalue()


def test_sources_of_two_rules_for_special_tokens_are_named(corpus: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    for name, parses in (("text", False), ("parsed", True)):
        options = PreprocessOptions(parse_special_tokens=parses)
        preprocess([str(corpus)], word_tokenizer, tmp_path / name, Console(quiet=True), options=options)
    for names, warned in ((["text", "parsed"], True), (["text"], False), (["parsed"], False)):
        prefixes = [str(tmp_path / name) for name in names]
        said = StringIO()
        config = config_of(2, train=prefixes, tokenizer=str(word_tokenizer))
        open_training_data(config, Console(file=said, width=400))
        assert (f"that token in {tmp_path / 'parsed'} and text in {tmp_path / 'text'}" in said.getvalue()) == warned
