"""Supervised fine-tuning of a Hugging Face model on conversations or instructions."""

from typing import Any

from rich.console import Console

from megalite.config.errors import DataError, one_line_errors
from megalite.config.labels import IGNORE
from megalite.config.launch import read_launch
from megalite.huggingface.load import load_weights
from megalite.posttraining.mask.encoder import EncodedChat
from megalite.posttraining.mask.page import write_page
from megalite.posttraining.model.lora import peft_config
from megalite.posttraining.model.packing import check_packing
from megalite.posttraining.rows.chat import Conversation, conversations
from megalite.posttraining.run.folder import MASK_PAGE
from megalite.posttraining.run.prepare import Preparation, prepare
from megalite.posttraining.run.samples import Tokens, pad_to_ranks, token_dataset
from megalite.posttraining.run.session import run_session
from megalite.posttraining.schema import SftRun
from megalite.posttraining.settings import Settings, read_settings

Prepared = Preparation[SftRun, Conversation]


@one_line_errors
def main() -> None:
    """``megalite sft``: under ``accelerate launch``, ``deepspeed``, ``torchrun`` or plain ``python``."""
    fine_tune(read_settings(SftRun, "Fine-tune a model on conversations; only the assistant's tokens carry loss."))


def fine_tune(settings: Settings[SftRun]) -> Any:
    """Check, show masks, train and export; returns the ``Reporter`` of the run, or None after ``--check``."""
    prepared = prepare(settings, conversations)
    config, console = settings.config, prepared.console
    if config.data.packing:
        check_packing(prepared.model_config, config.model.attention)
    findings = prepared.examine(prepared.train)
    train, valid = encode_chats(prepared)
    prepared.ledger.print(len(train), None if valid is None else len(valid), console)
    rows = training_rows(train, config, console)
    if read_launch().is_first:
        config.folder.mkdir(parents=True, exist_ok=True)
        write_page(config.folder / MASK_PAGE, findings, prepared.encoder)
        console.print(f"more samples: {config.folder / MASK_PAGE}", highlight=False)
    if settings.check:
        return None
    return run_session(prepared, lambda: _trainer(prepared, rows, valid))


def encode_chats(prepared: Prepared) -> tuple[Tokens, Tokens | None]:
    """Training and validation samples; those in which no token carries loss are left out. Raises: DataError."""
    ledger = prepared.ledger

    def encode(turns: Conversation) -> tuple[EncodedChat, int]:
        chat = prepared.encoder.encode(turns)
        return chat, len(chat.ids)

    def tokens_of(chats: list[EncodedChat]) -> Tokens:
        ledger.special_tokens += sum(chat.spelled for chat in chats)
        samples = [(chat.ids, chat.labels) for chat in chats if any(label != IGNORE for label in chat.labels)]
        ledger.require(len(samples))
        return samples

    train, valid = prepared.encode(encode)
    return tokens_of(train), None if valid is None else tokens_of(valid)


def training_rows(train: Tokens, config: SftRun, console: Console) -> Any:
    """The training dataset: one sample in a row, or several with ``data.packing``.

    Samples are packed by best-fit decreasing (Ding et al. 2024, arXiv:2404.10830); none is cut.

    Raises: DataError if there are too few rows for one optimizer step.
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
            f"{config.batch.global_batch_size}; give more rows or a smaller batch"
        )
    return rows


def _trainer(prepared: Prepared, rows: Any, valid: Tokens | None) -> Any:
    import datasets
    from trl import SFTConfig

    from megalite.posttraining.run.arguments import training_arguments, weight_options
    from megalite.posttraining.run.trainers import ScheduledSFTTrainer

    datasets.disable_progress_bars()
    settings, config = prepared.settings, prepared.settings.config
    arguments = SFTConfig(
        **training_arguments(settings, prepared.ds_config, valid is not None),
        packing=config.data.packing,
        dataset_kwargs={"skip_prepare_dataset": True},  # the rows are tokenized already
    )
    padded = None if valid is None else pad_to_ranks(valid, settings.world_size * config.batch.micro_batch_size)
    return ScheduledSFTTrainer(
        model=load_weights(config.model.path, **weight_options(config, prepared.ds_config)),
        args=arguments,
        train_dataset=rows,
        eval_dataset=None if padded is None else token_dataset(padded),
        processing_class=prepared.encoder.tokenizer,
        peft_config=peft_config(config),
    )
