"""Parse a preference, feedback or question row into the columns of TRL's trainers."""

from typing import Any

from megalite.posttraining.rows.chat import (
    ANSWERS,
    Conversation,
    is_transcript,
    messages,
    prompt_of,
    ranked_replies,
    text_of,
    transcript,
    whole,
    with_system,
)

Pair = dict[str, Conversation]
LABELS = ("label", "desirable", "thumbs_up")
SOLUTIONS = ("answer", "solution", "ground_truth", "final_answer", "completion")


def pairs(row: dict[str, Any]) -> list[Pair]:
    """Return ``prompt``, ``chosen`` and ``rejected`` as messages; the last two are one assistant turn each.

    A row holds a prompt (text or messages) with two answers, two conversations or hh-rlhf transcripts that differ in the
    last turn, or an Open Assistant tree, which gives the best and the worst ranked reply of every fork.

    Raises: ValueError with the reason.
    """
    if isinstance(row.get("prompt"), dict) and "replies" in row["prompt"]:
        return _forks(row["prompt"])
    for key in ("chosen", "rejected"):
        if row.get(key) is None:
            raise ValueError(f"has no '{key}'; the columns are {', '.join(row) or 'none'}: name yours in data.columns")
    return [_pair(*(_conversation(row, key) for key in ("chosen", "rejected")))]


def feedback(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return ``prompt``, ``completion`` and ``label``, true if the answer is wanted; a pair gives one of each.

    Raises: ValueError with the reason.
    """
    if "chosen" in row or isinstance(row.get("prompt"), dict):
        return [
            {"prompt": pair["prompt"], "completion": pair[key], "label": key == "chosen"}
            for pair in pairs(row)
            for key in ("chosen", "rejected")
        ]
    name = next((key for key in LABELS if row.get(key) is not None), None)
    if name is None:
        raise ValueError(f"has no '{LABELS[0]}'; the columns are {', '.join(row)}: name yours in data.columns")
    if not isinstance(row[name], bool):
        raise ValueError(f"'{name}' is {row[name]!r}, not true or false")
    key = next((key for key in ANSWERS if row.get(key) is not None), None)
    if key is None:
        raise ValueError(f"has no 'completion'; the columns are {', '.join(row)}: name yours in data.columns")
    turns = _with_answer(row, key)
    return [{"prompt": turns[:-1], "completion": turns[-1:], "label": row[name]}]


def questions(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return ``prompt`` as messages and ``solution``, the text that answers are compared with.

    Raises: ValueError with the reason.
    """
    key = next((key for key in SOLUTIONS if row.get(key) is not None), None)
    if key is None:
        raise ValueError(
            f"has no column with a solution ({', '.join(SOLUTIONS)}); the columns are {', '.join(row) or 'none'}: "
            f"name yours in data.columns"
        )
    solution = str(row[key]) if isinstance(row[key], int | float) else text_of(row[key], key)
    prompt = prompt_of(row)
    if prompt[-1]["role"] != "user":
        raise ValueError("the prompt does not end with the user's turn")
    return [{"prompt": prompt, "solution": solution}]


def _conversation(row: dict[str, Any], key: str) -> Conversation:
    """The conversation that ends with the answer in ``key``."""
    value = row[key]
    if is_transcript(value):
        return whole(transcript(value, key))
    return _with_answer(row, key)


def _with_answer(row: dict[str, Any], key: str) -> Conversation:
    value = row[key]
    if not isinstance(value, list):
        return whole([*prompt_of(row), {"role": "assistant", "content": text_of(value, key)}])
    answer = messages(value, key)
    if len(answer) == 1 or isinstance(row.get("prompt"), list):
        before = prompt_of(row)
        return whole(answer if answer[: len(before)] == before else before + answer)
    return whole(with_system(row, answer))


def _pair(chosen: Conversation, rejected: Conversation) -> Pair:
    if chosen[:-1] != rejected[:-1]:
        raise ValueError("chosen and rejected differ before their last turn; they must answer the same prompt")
    if chosen[-1] == rejected[-1]:
        raise ValueError("chosen and rejected are the same answer")
    return {"prompt": chosen[:-1], "chosen": chosen[-1:], "rejected": rejected[-1:]}


def _forks(node: dict[str, Any], before: tuple[dict[str, Any], ...] = ()) -> list[Pair]:
    """The best and the worst ranked answer at every node with two or more; every reply is followed."""
    path = (*before, node)
    replies, found = ranked_replies(node), []
    ranked = [reply for reply in replies if reply.get("rank") is not None and reply.get("role") == "assistant"]
    if len(ranked) > 1:
        prompt = [{"role": turn.get("role"), "content": turn.get("text")} for turn in path]
        best, worst = (
            whole(messages([*prompt, {"role": "assistant", "content": reply.get("text")}], "prompt"))
            for reply in (ranked[0], ranked[-1])
        )
        found = [_pair(best, worst)] if best != worst else []
    return found + [pair for reply in replies for pair in _forks(reply, path)]
