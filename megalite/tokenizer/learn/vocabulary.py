"""Tokenizers for one or several designs that differ in size, learnt from one sample."""

from collections.abc import Sequence

from tokenizers import Tokenizer

from megalite.config.errors import ConfigError, DataError
from megalite.tokenizer.formats.byte_level import byte_characters, byte_level_bpe, to_characters
from megalite.tokenizer.learn.bpe_trainers import Merges, train_merges
from megalite.tokenizer.learn.design import SPLITS, Design
from megalite.tokenizer.sample.sampling import Sample

Made = tuple[Tokenizer, bytes | None, str]
"""A tokenizer, the content of its ``tokenizer.model`` where there is one, and how it was learnt."""


def learn_vocabularies(sample: Sample, designs: Sequence[Design]) -> list[Made]:
    """A tokenizer for each design; they differ in size only.

    Raises: ConfigError, DataError.
    """
    if designs[0].model == "bpe":
        most = max(design.learnt for design in designs)
        merges: Merges = []
        trainer = "nothing: bytes alone"
        if most:
            merges, trainer = train_merges(sample.training, designs[0].digits_rule, most, designs[0].trainer)
        # of the same text the smaller vocabulary is the beginning of the larger one
        return [(_byte_level(merges, design), None, trainer) for design in designs]
    from megalite.tokenizer.formats.sentencepiece_tokenizer import open_sentencepiece
    from megalite.tokenizer.learn.sentencepiece_trainer import train_sentencepiece

    models = [train_sentencepiece(sample.training, design) for design in designs]
    opened = [open_sentencepiece(model, (), "the model just trained") for model in models]
    return [(tokenizer, model, "sentencepiece") for (tokenizer, *_), model in zip(opened, models, strict=True)]


def _byte_level(merges: Merges, design: Design) -> Tokenizer:
    special, learnt = design.special_in_order(), list(dict.fromkeys(left + right for left, right in merges))
    if len(learnt) < design.learnt:
        raise DataError(
            f"the text gives {design.total - design.learnt + len(learnt)} tokens, --vocab_size {design.vocab_size} was "
            f"asked for; take more text or a smaller vocabulary"
        )
    end = 0
    if design.learnt:
        last = learnt[design.learnt - 1]
        end = next(number for number, (left, right) in enumerate(merges) if left + right == last) + 1
    if clash := ({*byte_characters(), *map(to_characters, learnt)} & set(special)):
        raise ConfigError(f"special token '{min(clash)}': is a token of the text too; give one that no text has")
    return byte_level_bpe(merges[:end], special, SPLITS[design.digits_rule])
