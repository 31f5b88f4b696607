"""Tokenization as a job: a task encodes one unit, in worker processes, on Ray or on Slurm."""

from pathlib import Path

from megalite.data.preprocess.encoder_check import EncoderMismatchError
from megalite.data.preprocess.encoders import Encoder, TokenizersEncoder, open_encoder
from megalite.data.preprocess.plan import PreprocessPlan
from megalite.data.preprocess.unit import INEXACT, encode_unit, is_encoded
from megalite.jobs.job import Job, Stage, Step
from megalite.jobs.notes import read_note, write_note
from megalite.tokenizer.load import LoadedTokenizer, load_tokenizer
from megalite.tokenizer.special_text import SpecialSpellings, special_names

NAME = "tokens"
ENCODE_STEP = "encode"
ENCODER = "encoder.json"
"""The encoder that the command has chosen."""
Encoders = tuple[Encoder, Encoder, SpecialSpellings]
"""The encoder, its reference and the counter of spelled special tokens."""


def read_plan(content: str) -> PreprocessPlan:
    """``plan.json`` of a work folder."""
    return PreprocessPlan.from_json(content)


def all_stages(plan: PreprocessPlan) -> list[Stage]:
    """Encoding alone; the command joins the shards."""
    encode = Step(
        ENCODE_STEP, len(plan.units), _encode, lambda job, task: is_encoded(job.plan, job.folder / NAME, task)
    )
    return [Stage(NAME, (encode,))]


def set_encoder(job: Job[PreprocessPlan], tokenizer: LoadedTokenizer, encoder: Encoder) -> None:
    """Use this encoder in all tasks; this process need not load it again."""
    write_note(job.folder / ENCODER, {"encoder": encoder.name})
    job.once("encoders", lambda: _encoders(tokenizer, encoder))


def _open_encoders(job: Job[PreprocessPlan]) -> Encoders:
    plan = job.plan
    tokenizer = load_tokenizer(Path(plan.tokenizer), plan.eod_token, plan.parse_special_tokens)
    name = read_note(job.folder / ENCODER, lambda values: values["encoder"])
    return _encoders(tokenizer, open_encoder(name, tokenizer.tokenizer))


def _encoders(tokenizer: LoadedTokenizer, encoder: Encoder) -> Encoders:
    return encoder, _reference(encoder, tokenizer), SpecialSpellings(special_names(tokenizer.tokenizer))


def _reference(encoder: Encoder, tokenizer: LoadedTokenizer) -> Encoder:
    """The tokenizer's own library; the encoder itself if it is that."""
    if tokenizer.own is not None:
        return TokenizersEncoder(tokenizer.own)
    is_own = encoder.name in ("tokenizers", "sentencepiece")
    return encoder if is_own else TokenizersEncoder(tokenizer.tokenizer)


def _encode(job: Job[PreprocessPlan], number: int) -> None:
    encoder, reference, spellings = job.once("encoders", lambda: _open_encoders(job))
    try:
        encode_unit(job.plan, number, job.folder / NAME, encoder, reference, spellings)
    except EncoderMismatchError:  # what it has made so far is not used either
        (job.folder / NAME / f"{INEXACT}{encoder.name}").touch()
        raise
