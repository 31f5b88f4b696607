"""Preference tuning of any Hugging Face folder: DPO, KTO, or GRPO with answers that can be checked."""

import copy
import random
from collections.abc import Callable
from typing import Any

from megalite.config.errors import ConfigError, DataError, one_line_errors
from megalite.config.screen import screen
from megalite.huggingface.check_folder import check_model_folder
from megalite.huggingface.load import load_weights
from megalite.posttraining.mask.doctor import examine, show, spread
from megalite.posttraining.mask.encoder import ChatEncoder
from megalite.posttraining.model.folder import (
    chat_encoder,
    load_config_and_tokenizer,
    read_template,
    sequence_limit,
)
from megalite.posttraining.model.lora import check_architecture, peft_config
from megalite.posttraining.rewards import check_solution, reward_function
from megalite.posttraining.rows.preference import feedback, pairs, questions
from megalite.posttraining.run.folder import resume_point, tuning_folder
from megalite.posttraining.run.samples import Counts, fitting_rows, read_samples
from megalite.posttraining.run.session import is_first_rank, print_rows, run_session
from megalite.posttraining.schema import PreferenceRun
from megalite.posttraining.settings import Settings, deepspeed_dict, read_settings

Rows = list[dict[str, Any]]


@one_line_errors
def main() -> None:
    """``tools/preferences.py``: under ``accelerate launch``, ``deepspeed``, ``torchrun`` or plain ``python``."""
    tune(read_settings(PreferenceRun, "Tune a model on preferences: DPO, KTO, or GRPO with a verifiable reward."))


def tune(settings: Settings[PreferenceRun]) -> Any:
    """Check, show samples, train, export; returns what the run reported, None after ``--check``."""
    config = settings.config
    check_method(settings)
    console = screen(quiet=not is_first_rank())
    if settings.precision_sentence:
        console.print(settings.precision_sentence, highlight=False)
    checkpoint = resume_point(config, settings.resume, settings.world_size, settings.ds_config is not None)
    check_model_folder(config.model.path)
    template = read_template(config)
    counts = Counts(rule="became those tokens" if config.data.parse_special_tokens else "stayed text")
    train, held_out = read_samples(config.data, config.run.seed, row_parser(config), counts)

    model_config, tokenizer = load_config_and_tokenizer(config.model.path)
    ds_config = deepspeed_dict(settings, model_config.get_text_config().hidden_size)
    sequence_limit(config, model_config)
    check_architecture(config, model_config)
    encoder = chat_encoder(config, tokenizer, template)
    if config.preference.method != "grpo":
        answer = "chosen" if config.preference.method == "dpo" else "completion"
        samples = [(place, row["prompt"] + row[answer]) for place, row in train]
        show(examine(encoder, spread(samples), config.data.on_error == "skip"), encoder, console)
    rows = fitting_rows(train, _length(encoder, config), config.data, counts, console, "tokenizing")
    valid = None
    if held_out is not None:
        valid = fitting_rows(held_out, _length(encoder, config), config.data, counts, console, "tokenizing held-out")
        valid = full_batches(valid[: config.validation.max_samples], settings)
    if len(rows) < (prompts := _prompts_per_step(config)):
        raise DataError(
            f"{', '.join(config.data.train)}: {len(rows)} rows are fewer than the {prompts} of an optimizer step "
            f"(batch.global_batch_size); take more rows or a smaller batch"
        )
    if config.preference.method == "kto":
        # KTO estimates its KL term on the answers of neighbouring rows; two answers to one prompt must not be neighbours.
        random.Random(config.run.seed).shuffle(rows)
    print_rows(counts, len(rows), None if valid is None else len(valid), console)
    if settings.check:
        return None

    def make_trainer() -> Any:
        return _trainer(settings, ds_config, rows, valid, encoder)

    return run_session(settings, ds_config, tuning_folder(config), checkpoint, encoder, make_trainer, console)


def row_parser(config: PreferenceRun) -> Callable[[dict[str, Any]], Rows]:
    """How a row of this method's files is read."""
    method, reward = config.preference.method, config.preference.reward
    if method == "dpo":
        return pairs
    if method == "kto":
        return feedback

    def checked_questions(row: dict[str, Any]) -> Rows:
        found = questions(row)
        for item in found:
            check_solution(reward, item["solution"])
        return found

    return checked_questions


def full_batches(rows: Rows, settings: Settings[PreferenceRun]) -> Rows:
    """The rows that fill whole batches on every rank, so that each counts once in a mean of batches.

    Raises: DataError where there is not one batch.
    """
    together = settings.world_size * settings.config.batch.micro_batch_size
    if len(rows) < together:
        raise DataError(
            f"held-out rows: {len(rows)} are fewer than one batch (batch.micro_batch_size x ranks = {together}); hold "
            f"out more"
        )
    return rows[: len(rows) // together * together]


def check_method(settings: Settings[PreferenceRun]) -> None:
    """Refuse what a method cannot do. Raises: ConfigError."""
    config, source = settings.config, settings.yaml_path
    preference, batch = config.preference, config.batch
    if preference.method == "kto" and batch.micro_batch_size < 2:
        raise ConfigError(f"{source}: batch.micro_batch_size=1: KTO compares the rows of a batch; take 2 or more")
    if preference.method == "grpo":
        if batch.global_batch_size % preference.generations:
            raise ConfigError(
                f"{source}: batch.global_batch_size={batch.global_batch_size} counts answers and does not divide by "
                f"preference.generations={preference.generations}; take a multiple"
            )
        if preference.max_new_tokens >= config.data.sequence_length:
            raise ConfigError(
                f"{source}: preference.max_new_tokens={preference.max_new_tokens} leaves no room for a prompt in "
                f"data.sequence_length={config.data.sequence_length}"
            )


def _prompts_per_step(config: PreferenceRun) -> int:
    answers = config.batch.global_batch_size
    return answers // config.preference.generations if config.preference.method == "grpo" else answers


def _length(encoder: ChatEncoder, config: PreferenceRun) -> Callable[[dict[str, Any]], int]:
    """Tokens of the longest sequence that a row gives. Raises ValueError where the template loses a turn."""

    def tokens(row: dict[str, Any]) -> int:
        answers = [row[key] for key in ("chosen", "rejected", "completion") if key in row]
        if not answers:
            rendered = encoder.chat.render(row["prompt"], add_generation_prompt=True)
            if rendered.spelled and not config.data.parse_special_tokens:
                raise ValueError("the prompt spells a special token, which TRL's GRPO takes for the template's own")
            return len(encoder.chat.encode(rendered)[0]) + config.preference.max_new_tokens
        return max(len(encoder.encode(row["prompt"] + answer).ids) for answer in answers)

    return tokens


def _with_rule(rows: Rows, config: PreferenceRun) -> Rows:
    """The rows with what TRL hands on to transformers, so that a special token that a turn spells stays text there too."""
    if config.preference.method == "grpo" or config.data.parse_special_tokens:
        return rows
    return [row | {"chat_template_kwargs": {"sanitize_control_tokens": True}} for row in rows]


def _trainer(
    settings: Settings[PreferenceRun],
    ds_config: dict[str, Any] | None,
    rows: Rows,
    valid: Rows | None,
    encoder: ChatEncoder,
) -> Any:
    import datasets
    import trl

    from megalite.posttraining.run import trainers
    from megalite.posttraining.run.arguments import training_arguments, weight_options

    datasets.disable_progress_bars()
    config, preference = settings.config, settings.config.preference
    common = training_arguments(settings, ds_config, valid is not None) | {"beta": preference.beta}
    given: dict[str, Any] = {
        "train_dataset": datasets.Dataset.from_list(_with_rule(rows, config)),
        "eval_dataset": None if valid is None else datasets.Dataset.from_list(_with_rule(valid, config)),
        "processing_class": encoder.tokenizer,
        "peft_config": peft_config(config),
    }

    def policy() -> Any:
        """Loaded after the trainer's arguments are made: under ZeRO-3 they say that it is to be partitioned."""
        return load_weights(config.model.path, **weight_options(config, ds_config))

    if preference.method != "grpo":
        common["eval_on_start"] = False  # the model is its own reference there, every reward is 0
    if preference.method == "dpo":
        dpo = trl.DPOConfig(**common, max_length=None, loss_type=[preference.loss])
        return trainers.ScheduledDPOTrainer(policy(), args=dpo, **given)
    if preference.method == "kto":
        weights = {
            "desirable_weight": preference.desirable_weight,
            "undesirable_weight": preference.undesirable_weight,
        }
        kto = trl.KTOConfig(**common, max_length=None, **weights)
        return trainers.ScheduledKTOTrainer(policy(), args=kto, **given)
    # TRL ends an answer at the tokenizer's eos; a chat template may end it with a token of its own.
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
