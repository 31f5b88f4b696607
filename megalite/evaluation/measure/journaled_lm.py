"""lm-eval's Hugging Face model, with its questions split over the ranks and its answers written to a journal.

lm-eval splits the documents instead, so its few-shot examples (drawn for each document) depend on the number of ranks; on
CPU it does not split at all. Here every rank builds the same questions as a single process would, answers its share and
gathers the other answers. The figures do not depend on the number of ranks.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.models.huggingface import HFLM

from megalite.evaluation.fingerprint import content_hash
from megalite.evaluation.measure.data_parallel import DataParallelGroup
from megalite.evaluation.measure.journal import Journal
from megalite.evaluation.measure.progress_bar import OnProgress
from megalite.tokenizer.chat_text import MARK, ChatText, chat_text, require_template

SECONDS = (5.0, 20.0)
"""Target duration of a chunk, which is the work that a kill can cost. The chunk size doubles below and halves above."""
FIRST_CHUNK = 8
"""Batches."""


class JournaledLM(HFLM):
    """An ``HFLM`` that answers each distinct question once."""

    def __init__(self, name: str, model: Any, tokenizer: Any, group: DataParallelGroup, batch_size: int | str) -> None:
        """``model`` and ``tokenizer`` as loaded by ``huggingface.load``; ``name`` is for messages."""
        super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
        self.name = name
        self.tokenizer.split_special_tokens = True
        self._rank, self._world_size = 0, 1  # what lm-eval's evaluator sees; the questions are split below
        self.group = group
        self.journal = Journal()
        self.on_progress: OnProgress = lambda done, total: None
        self._chat: ChatText | None = None  # set by the first conversation
        self._truncated: set[Any] = set()
        """Questions longer than the model's context: ``(context, continuation)``, or the context alone."""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The rendered template. Special tokens that the messages spell out are marked, so they are encoded as text."""
        self._chat = self._chat or chat_text(self.tokenizer, require_template(self.tokenizer))
        self.tokenizer.split_special_tokens = False
        options = {} if add_generation_prompt else {"continue_final_message": True}
        return self._chat.marked(self._chat.render(chat_history, add_generation_prompt, **options))

    def tok_encode(self, string: str, *args: Any, left_truncate_len: int | None = None, **options: Any) -> list[int]:
        """As in lm-eval, but only special tokens written by the chat template are parsed as such."""
        if self._chat is None or MARK not in string:
            return list(super().tok_encode(string, *args, left_truncate_len=left_truncate_len, **options))
        ids = self._chat.encode(self._chat.unmarked(string))[0]
        return ids[-left_truncate_len:] if left_truncate_len else ids

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        if self._chat is not None:
            continuation = self._chat.as_text(continuation)
        return super()._encode_pair(context, continuation)

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """``(log-likelihood, is greedy)`` of each continuation."""
        answers = self._answers("loglikelihood", requests, super().loglikelihood)
        return [(value, greedy) for value, greedy in answers]

    def truncated_questions(self) -> int:
        """Number of answers in the journal whose questions lost their beginning."""
        return sum(truncated for _, truncated in self.journal.answers.values())

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood of each whole text."""
        return self._answers("loglikelihood_rolling", requests, super().loglikelihood_rolling)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """A continuation of each context."""
        return self._answers("generate_until", requests, super().generate_until)

    def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = False, override_bs: int | None = None) -> Any:
        for question, context, continuation in requests:
            if len(context) + len(continuation) > self.max_length + 1 and question is not None:
                self._truncated.add(question)
        return super()._loglikelihood_tokens(requests, disable_tqdm=True, override_bs=override_bs)

    def tok_batch_encode(self, strings: Any, *args: Any, left_truncate_len: int | None = None, **options: Any) -> Any:
        """As in lm-eval; also records which contexts are truncated."""
        if left_truncate_len is not None:
            self._truncated |= {text for text in strings if len(self.tok_encode(text)) > left_truncate_len}
        if self._chat is not None and any(MARK in text for text in strings):
            rows = [self.tok_encode(text, left_truncate_len=left_truncate_len) for text in strings]
            padded = self.tokenizer.pad({"input_ids": rows}, padding_side="left", return_tensors="pt")
            return padded["input_ids"], padded["attention_mask"]
        return super().tok_batch_encode(strings, *args, left_truncate_len=left_truncate_len, **options)

    def _answers(self, kind: str, requests: Sequence[Any], answer: Callable[..., list[Any]]) -> list[Any]:
        keys = _keys(kind, requests)
        self.group.barrier()  # until every rank has read the journal, none may add to it
        pending = {key: request for key, request in zip(keys, requests, strict=True) if key not in self.journal.answers}
        longest_first = sorted(
            pending, key=lambda key: -sum(len(part) for part in pending[key].args if isinstance(part, str))
        )
        share = longest_first[self.group.rank :: self.group.world_size]
        size = FIRST_CHUNK * (self.batch_size_per_gpu if isinstance(self.batch_size_per_gpu, int) else 64)
        done = 0
        while done < len(share):
            chunk = share[done : done + size]
            start = time.monotonic()
            found = answer([pending[key] for key in chunk], disable_tqdm=True)
            questions = (pending[key].args for key in chunk)
            truncated = [(args if kind == "loglikelihood" else args[0]) in self._truncated for args in questions]
            self.journal.add(zip(chunk, zip(found, truncated, strict=True), strict=True))
            seconds = time.monotonic() - start
            size = size * 2 if seconds < SECONDS[0] else max(1, size // 2) if seconds > SECONDS[1] else size
            done += len(chunk)
            self.on_progress(done, len(share))
        own = {key: self.journal.answers[key] for key in share}
        for answers in self.group.all_gather(own):
            self.journal.answers |= answers
        return [self.journal.answers[key][0] for key in keys]


def _keys(kind: str, requests: Sequence[Any]) -> list[str]:
    """A hash of each question. Repeated sampling questions are numbered."""
    seen: dict[str, int] = {}
    keys = []
    for request in requests:
        key = content_hash([kind, request.args])
        count = seen[key] = seen.get(key, 0) + 1
        keys.append(key if kind != "generate_until" or count == 1 else f"{key}-{count}")
    return keys
