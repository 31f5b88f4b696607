"""Supervised fine-tuning of any Hugging Face folder on conversations and instructions."""

from typing import Any

from rich.console import Console

from megalite.config.errors import DataError, one_line_errors
from megalite.config.screen import screen
from megalite.huggingface.check_folder import check_model_folder
from megalite.huggingface.load import load_weights
from megalite.posttraining.mask.doctor import examine, show, spread
from megalite.posttraining.mask.page import write_page
from megalite.posttraining.model.folder import (
    chat_encoder,
    load_config_and_tokenizer,
    read_template,
    sequence_limit,
)
from megalite.posttraining.model.lora import check_architecture, peft_config
from megalite.posttraining.model.packing import check_packing
from megalite.posttraining.rows.chat import conversations
from megalite.posttraining.run.folder import MASK_PAGE, resume_point, tuning_folder
from megalite.posttraining.run.samples import Counts, Tokens, encode_samples, pad_to_ranks, read_samples, token_dataset
from megalite.posttraining.run.session import is_first_rank, print_rows, run_session
from megalite.posttraining.schema import SftRun
from megalite.posttraining.settings import Settings, deepspeed_dict, read_settings


@one_line_errors
def main() -> None:
    """``tools/sft.py``: under ``accelerate launch``, ``deepspeed``, ``torchrun`` or plain ``python``."""
    fine_tune(read_settings(SftRun, "Fine-tune a model on conversations, with loss on the assistant's words only."))


def fine_tune(settings: Settings[SftRun]) -> Any:
    """Check, let the mask doctor look, train, export; returns what the run reported, None after ``--check``."""
    config = settings.config
    console = screen(quiet=not is_first_rank())
    if settings.precision_sentence:
        console.print(settings.precision_sentence, highlight=False)
    run = tuning_folder(config)
    checkpoint = resume_point(config, settings.resume, settings.world_size, settings.ds_config is not None)
    check_model_folder(config.model.path)
    template = read_template(config)
    counts = Counts(rule="became those tokens" if config.data.parse_special_tokens else "stayed text")
    talks, held_out = read_samples(config.data, config.run.seed, conversations, counts)

    # Up to here nothing heavy was imported: most mistakes cost a second.
    model_config, tokenizer = load_config_and_tokenizer(config.model.path)
    ds_config = deepspeed_dict(settings, model_config.get_text_config().hidden_size)
    sequence_limit(config, model_config)
    check_architecture(config, model_config)
    encoder = chat_encoder(config, tokenizer, template)
    if config.data.packing:
        check_packing(model_config, config.model.attention)
    findings = examine(encoder, spread(talks), config.data.on_error == "skip")
    show(findings, encoder, console)
    train = encode_samples(encoder, talks, config.data, counts, console, "tokenizing")
    valid = None
    if held_out is not None:
        valid = encode_samples(encoder, held_out, config.data, counts, console, "tokenizing held-out")
        valid = valid[: config.validation.max_samples]
    print_rows(counts, len(train), None if valid is None else len(valid), console)
    rows = training_rows(train, config, console)
    if is_first_rank():
        run.mkdir(parents=True, exist_ok=True)
        write_page(run / MASK_PAGE, findings, encoder)
        console.print(f"more of them: {run / MASK_PAGE}", highlight=False)
    if settings.check:
        return None

    def make_trainer() -> Any:
        return _trainer(settings, ds_config, rows, valid, tokenizer)

    return run_session(settings, ds_config, run, checkpoint, encoder, make_trainer, console)


def training_rows(train: Tokens, config: SftRun, console: Console) -> Any:
    """The dataset that is trained on: samples, or rows into which they are packed.

    Packed by best-fit decreasing (Ding et al. 2024, arXiv:2404.10830), where no sample is cut.

    Raises: DataError where there are not enough for an optimizer step.
    """
    rows, what = token_dataset(train), "samples"
    if config.data.packing:
        from trl.data_utils import pack_dataset

        length = config.data.sequence_length
        rows, what = pack_dataset(rows, length, "bfd"), "packed rows"
        filled = sum(len(ids) for ids, _ in train) / (len(rows) * length)
        console.print(f"packed into {len(rows):,} rows of up to {length} tokens, {filled:.0%} filled", highlight=False)
    if len(rows) < config.batch.global_batch_size:
        raise DataError(
            f"{', '.join(config.data.train)}: {len(rows)} {what} are fewer than batch.global_batch_size="
            f"{config.batch.global_batch_size}; take more rows or a smaller batch"
        )
    return rows


def _trainer(
    settings: Settings[SftRun], ds_config: dict[str, Any] | None, rows: Any, valid: Tokens | None, tokenizer: Any
) -> Any:
    import datasets
    from trl import SFTConfig

    from megalite.posttraining.run.arguments import training_arguments, weight_options
    from megalite.posttraining.run.trainers import ScheduledSFTTrainer

    datasets.disable_progress_bars()
    config = settings.config
    arguments = SFTConfig(
        **training_arguments(settings, ds_config, valid is not None),
        packing=config.data.packing,
        dataset_kwargs={"skip_prepare_dataset": True},  # rows are tokens, labels and lengths already
    )
    padded = None if valid is None else pad_to_ranks(valid, settings.world_size * config.batch.micro_batch_size)
    return ScheduledSFTTrainer(
        model=load_weights(config.model.path, **weight_options(config, ds_config)),
        args=arguments,
        train_dataset=rows,
        eval_dataset=None if padded is None else token_dataset(padded),
        processing_class=tokenizer,
        peft_config=peft_config(config),
    )
