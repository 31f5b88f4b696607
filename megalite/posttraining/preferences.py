"""Preference tuning of a Hugging Face model: DPO, KTO, or GRPO with rewards that can be checked."""

import copy
import random
from collections.abc import Callable
from typing import Any

from megalite.config.errors import ConfigError, DataError, one_line_errors
from megalite.huggingface.load import load_weights
from megalite.posttraining.mask.encoder import ChatEncoder
from megalite.posttraining.model.lora import peft_config
from megalite.posttraining.rewards import check_solution, reward_function
from megalite.posttraining.rows.preference import feedback, pairs, questions
from megalite.posttraining.run.prepare import Preparation, prepare
from megalite.posttraining.run.session import run_session
from megalite.posttraining.schema import PreferenceRun
from megalite.posttraining.settings import Settings, read_settings

Row = dict[str, Any]
Prepared = Preparation[PreferenceRun, Row]


@one_line_errors
def main() -> None:
    """``megalite preferences``: under ``accelerate launch``, ``deepspeed``, ``torchrun`` or plain ``python``."""
    tune(read_settings(PreferenceRun, "Tune a model on preferences: DPO, KTO, or GRPO with a verifiable reward."))


def tune(settings: Settings[PreferenceRun]) -> Any:
    """Check, show masks, train and export; returns the ``Reporter`` of the run, or None after ``--check``."""
    check_method(settings)
    prepared = prepare(settings, row_parser(settings.config))
    config, method = settings.config, settings.config.preference.method
    if method != "grpo":
        answer = "chosen" if method == "dpo" else "completion"
        prepared.examine([(place, row["prompt"] + row[answer]) for place, row in prepared.train])

    def with_length(row: Row) -> tuple[Row, int]:
        return row, _length(row, prepared.encoder, config)

    rows, valid = prepared.encode(with_length)
    if valid is not None:
        valid = full_batches(valid, settings)
    if len(rows) < (prompts := _prompts_per_step(config)):
        raise DataError(
            f"{', '.join(config.data.train)}: {len(rows)} rows are fewer than the {prompts} of an optimizer step "
            f"(batch.global_batch_size); give more rows or a smaller batch"
        )
    if method == "kto":
        # KTO estimates its KL term on the answers of neighbouring rows; answers to the same prompt must not be neighbours.
        random.Random(config.run.seed).shuffle(rows)
    prepared.ledger.print(len(rows), None if valid is None else len(valid), prepared.console)
    if settings.check:
        return None
    return run_session(prepared, lambda: _trainer(prepared, rows, valid))


def row_parser(config: PreferenceRun) -> Callable[[Row], list[Row]]:
    """The function that parses a row for the method."""
    method, reward = config.preference.method, config.preference.reward
    if method == "dpo":
        return pairs
    if method == "kto":
        return feedback

    def checked_questions(row: Row) -> list[Row]:
        found = questions(row)
        for item in found:
            check_solution(reward, item["solution"])
        return found

    return checked_questions


def full_batches(rows: list[Row], settings: Settings[PreferenceRun]) -> list[Row]:
    """Cut the rows to full batches on every rank, so that each row has the same weight in a mean over batches.

    Raises: DataError if there are too few rows for one batch.
    """
    together = settings.world_size * settings.config.batch.micro_batch_size
    if len(rows) < together:
        raise DataError(
            f"validation rows: {len(rows)} are fewer than one batch (batch.micro_batch_size x ranks = {together}); hold "
            f"out more"
        )
    return rows[: len(rows) // together * together]


def check_method(settings: Settings[PreferenceRun]) -> None:
    """Refuse settings that the method does not support. Raises: ConfigError."""
    config, source = settings.config, settings.yaml_path
    preference, batch = config.preference, config.batch
    if preference.method == "kto" and batch.micro_batch_size < 2:
        raise ConfigError(f"{source}: batch.micro_batch_size=1: KTO compares the rows of a batch; give 2 or more")
    if preference.method == "grpo":
        if batch.global_batch_size % preference.generations:
            raise ConfigError(
                f"{source}: batch.global_batch_size={batch.global_batch_size} counts answers and is not a multiple "
                f"of preference.generations={preference.generations}; give a multiple"
            )
        if preference.max_new_tokens >= config.data.sequence_length:
            raise ConfigError(
                f"{source}: preference.max_new_tokens={preference.max_new_tokens} leaves no room for a prompt in "
                f"data.sequence_length={config.data.sequence_length}"
            )


def _prompts_per_step(config: PreferenceRun) -> int:
    answers = config.batch.global_batch_size
    return answers // config.preference.generations if config.preference.method == "grpo" else answers


def _length(row: Row, encoder: ChatEncoder, config: PreferenceRun) -> int:
    """Number of tokens in the longest sequence of a row. Raises: ValueError if the template drops a turn."""
    answers = [row[key] for key in ("chosen", "rejected", "completion") if key in row]
    if answers:
        return max(len(encoder.encode(row["prompt"] + answer).ids) for answer in answers)
    rendered = encoder.chat.render(row["prompt"], add_generation_prompt=True)
    if rendered.spelled and not config.data.parse_special_tokens:
        raise ValueError("the prompt contains a special token, which TRL's GRPO cannot tell from the template's own")
    return len(encoder.chat.encode(rendered)[0]) + config.preference.max_new_tokens


def _dataset(rows: list[Row], config: PreferenceRun) -> Any:
    """The rows, with the option by which transformers encodes special tokens in messages as text."""
    import datasets

    if config.preference.method != "grpo" and not config.data.parse_special_tokens:
        rows = [row | {"chat_template_kwargs": {"sanitize_control_tokens": True}} for row in rows]
    return datasets.Dataset.from_list(rows)


def _trainer(prepared: Prepared, rows: list[Row], valid: list[Row] | None) -> Any:
    import datasets
    import trl

    from megalite.posttraining.run import trainers
    from megalite.posttraining.run.arguments import training_arguments, weight_options

    datasets.disable_progress_bars()
    settings, ds_config, encoder = prepared.settings, prepared.ds_config, prepared.encoder
    config, preference = settings.config, settings.config.preference
    common = training_arguments(settings, ds_config, valid is not None) | {"beta": preference.beta}
    given: dict[str, Any] = {
        "train_dataset": _dataset(rows, config),
        "eval_dataset": None if valid is None else _dataset(valid, config),
        "processing_class": encoder.tokenizer,
        "peft_config": peft_config(config),
    }

    def policy() -> Any:
        """Load the weights, after the trainer's arguments exist: under ZeRO-3 these make transformers partition them."""
        return load_weights(config.model.path, **weight_options(config, ds_config))

    if preference.method != "grpo":
        common["eval_on_start"] = False  # policy and reference are equal, so every reward would be 0
    if preference.method == "dpo":
        dpo = trl.DPOConfig(**common, max_length=None, loss_type=[preference.loss])
        return trainers.ScheduledDPOTrainer(policy(), args=dpo, **given)
    if preference.method == "kto":
        kto = trl.KTOConfig(
            **common,
            max_length=None,
            desirable_weight=preference.desirable_weight,
            undesirable_weight=preference.undesirable_weight,
        )
        return trainers.ScheduledKTOTrainer(policy(), args=kto, **given)
    # TRL ends an answer at the tokenizer's eos token; the template may end it with another one.
    given["processing_class"] = copy.deepcopy(encoder.tokenizer)
    given["processing_class"].eos_token = encoder.stop_token
    grpo = trl.GRPOConfig(
        **common,
        num_generations=preference.generations,
        num_generations_eval=1,
        max_completion_length=preference.max_new_tokens,
        temperature=preference.temperature,
    )
    return trainers.ScheduledGRPOTrainer(policy(), args=grpo, reward_funcs=reward_function(preference.reward), **given)
