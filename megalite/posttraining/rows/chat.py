"""A row of a chat or instruction file becomes conversations: lists of ``{"role", "content"}`` that are whole."""

import re
from typing import Any

Message = dict[str, str]
Conversation = list[Message]

ROLES = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "human": "user",  # ShareGPT
    "gpt": "assistant",
    "prompter": "user",  # Open Assistant
}
PROMPTS = ("instruction", "question", "prompt", "query")
INPUTS = ("input", "context")
ANSWERS = ("completion", "output", "response", "answer", "chosen")
SYSTEMS = ("system", "system_prompt")
TRANSCRIPT = re.compile(r"\n\n(Human|Assistant):")
"""How Anthropic's hh-rlhf marks turns (Bai et al. 2022, arXiv:2204.05862)."""


def conversations(row: dict[str, Any]) -> list[Conversation]:
    """What a row holds: messages, ShareGPT turns, an instruction with its answer, an hh transcript, an Open Assistant tree.

    Raises: ValueError with the reason where the row is not one of these, or is one with something missing.
    """
    for key in ("messages", "conversations", "conversation"):
        if key in row:
            return [whole(with_system(row, messages(row[key], key)))]
    if isinstance(row.get("prompt"), dict) and "replies" in row["prompt"]:
        return [whole(best_path(row["prompt"]))]
    if is_transcript(row.get("chosen")):
        return [whole(transcript(row["chosen"], "chosen"))]
    if isinstance(row.get("instances"), list):  # self-instruct's seed tasks
        instruction = {key: row[key] for key in PROMPTS if key in row}
        return [answered(instruction | instance) for instance in row["instances"]]
    return [answered(row)]


def answered(row: dict[str, Any]) -> Conversation:
    """Prompt and answer of one row, each a string or a list of messages."""
    answer_key = _first(row, ANSWERS, "an answer")
    before = prompt_of(row)
    answer = row[answer_key]
    if isinstance(answer, list):
        after = messages(answer, answer_key)
        return whole(after if after[: len(before)] == before else before + after)
    return whole([*before, {"role": "assistant", "content": text_of(answer, answer_key)}])


def prompt_of(row: dict[str, Any]) -> Conversation:
    """The turns before the answer: a system turn where there is one, and the instruction with its input."""
    key = _first(row, PROMPTS, "a prompt")
    if isinstance(row[key], list):
        return with_system(row, messages(row[key], key))
    asked = text_of(row[key], key)
    for name in INPUTS:
        if isinstance(row.get(name), str) and row[name].strip():
            asked += "\n\n" + row[name]
            break
    return with_system(row, [{"role": "user", "content": asked}])


def messages(turns: Any, key: str) -> Conversation:
    """A list of messages in our names. Raises: ValueError for a role or a content that is none."""
    if not isinstance(turns, list) or not turns:
        raise ValueError(f"'{key}' holds no turns")
    result = []
    for number, turn in enumerate(turns):
        place = f"{key}[{number}]"
        if not isinstance(turn, dict):
            raise ValueError(f"{place} is a {type(turn).__name__}, not a message with role and content")
        role = turn.get("role", turn.get("from"))
        if role not in ROLES:
            raise ValueError(f"{place}: role {role!r} is unknown; known are {', '.join(ROLES)}")
        result.append({"role": ROLES[role], "content": text_of(turn.get("content", turn.get("value")), place)})
    return result


def text_of(content: Any, place: str) -> str:
    """A content as one string; the text parts of a list joined. Raises: ValueError where nothing is said."""
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text", "")) for part in content)
    if content is not None and not isinstance(content, str):
        raise ValueError(f"{place}: the content is a {type(content).__name__}; text is read")
    if content is None or not content.strip():
        raise ValueError(f"{place}: the content is empty")
    return content


def with_system(row: dict[str, Any], turns: Conversation) -> Conversation:
    """The turns after the row's own system prompt, where it has one and the turns have none."""
    given = next((row[key] for key in SYSTEMS if isinstance(row.get(key), str) and row[key].strip()), None)
    if given is None or turns[0]["role"] == "system":
        return turns
    return [{"role": "system", "content": given}, *turns]


def whole(turns: Conversation) -> Conversation:
    """The same turns, if user and assistant take turns and the assistant has the last word. Raises: ValueError."""
    expected = "user"
    for number, turn in enumerate(turns):
        role = turn["role"]
        if role == "system" and number == 0:
            continue
        if role == "system":
            raise ValueError(f"turn {number}: a system turn stands after others; it can only be the first")
        if role != expected:
            raise ValueError(f"turn {number} is the {role}'s, but {_article(expected)} turn is missing before it")
        expected = "assistant" if expected == "user" else "user"
    if turns[-1]["role"] != "assistant":
        raise ValueError(f"ends with {_article(turns[-1]['role'])} turn: nobody answers it")
    return turns


def is_transcript(value: Any) -> bool:
    """Whether a string is an hh transcript: ``Human: ...``, an empty line, ``Assistant: ...``."""
    return isinstance(value, str) and value.lstrip().startswith("Human:") and "\n\nAssistant:" in value


def transcript(text: str, key: str) -> Conversation:
    """The turns of an hh transcript."""
    pieces = TRANSCRIPT.split("\n\n" + text.strip())[1:]
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        {"role": roles[name], "content": text_of(said, f"{key}, turn {number}").strip()}
        for number, (name, said) in enumerate(zip(pieces[::2], pieces[1::2], strict=True))
    ]


def best_path(node: dict[str, Any]) -> Conversation:
    """From the root of an Open Assistant tree along the best ranked replies, to the last answer on the way."""
    path = messages([_oasst(node)], "prompt")
    while replies := ranked_replies(node):
        node = replies[0]
        path += messages([_oasst(node)], "replies")
    return path if path[-1]["role"] == "assistant" else path[:-1]


def ranked_replies(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Replies of a tree's node that were not deleted, best first; unranked ones behind."""
    replies = [reply for reply in node.get("replies") or [] if not reply.get("deleted")]
    return sorted(replies, key=lambda reply: reply["rank"] if reply.get("rank") is not None else len(replies))


def _oasst(node: dict[str, Any]) -> dict[str, Any]:
    return {"role": node.get("role"), "content": node.get("text")}


def _first(row: dict[str, Any], names: tuple[str, ...], what: str) -> str:
    for name in names:
        if row.get(name) is not None:
            return name
    raise ValueError(
        f"has no column for {what} ({', '.join(names)}) and no 'messages'; the columns are {', '.join(row) or 'none'}: "
        f"name yours in data.columns"
    )


def _article(role: str) -> str:
    return f"an {role}" if role == "assistant" else f"a {role}"
