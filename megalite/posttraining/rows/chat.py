"""Parse a chat or instruction row into complete conversations: lists of ``{"role", "content"}``."""

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
"""The turn marks of Anthropic's hh-rlhf (Bai et al. 2022, arXiv:2204.05862)."""


def conversations(row: dict[str, Any]) -> list[Conversation]:
    """Return the conversations of a row.

    A row holds messages, ShareGPT turns, an instruction with its answer, an hh-rlhf transcript, a self-instruct seed task,
    or an Open Assistant tree.

    Raises: ValueError with the reason if the row has another form or is incomplete.
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
    """The conversation of a row with a prompt and an answer, each a string or a list of messages."""
    answer_key = _first(row, ANSWERS, "an answer")
    before = prompt_of(row)
    answer = row[answer_key]
    if isinstance(answer, list):
        after = messages(answer, answer_key)
        return whole(after if after[: len(before)] == before else before + after)
    return whole([*before, {"role": "assistant", "content": text_of(answer, answer_key)}])


def prompt_of(row: dict[str, Any]) -> Conversation:
    """The turns before the answer: an optional system turn, and the instruction with its input."""
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
    """A list of messages with our names of roles. Raises: ValueError for an unknown role or unusable content."""
    if not isinstance(turns, list) or not turns:
        raise ValueError(f"'{key}' has no turns")
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
    """A content as one string; text parts of a list are joined. Raises: ValueError if it is empty or not text."""
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text", "")) for part in content)
    if content is not None and not isinstance(content, str):
        raise ValueError(f"{place}: the content is a {type(content).__name__}, not text")
    if content is None or not content.strip():
        raise ValueError(f"{place}: the content is empty")
    return content


def with_system(row: dict[str, Any], turns: Conversation) -> Conversation:
    """Add the row's system prompt, if it has one and the turns do not."""
    given = next((row[key] for key in SYSTEMS if isinstance(row.get(key), str) and row[key].strip()), None)
    if given is None or turns[0]["role"] == "system":
        return turns
    return [{"role": "system", "content": given}, *turns]


def whole(turns: Conversation) -> Conversation:
    """Return the turns. Raises: ValueError unless user and assistant alternate and the assistant comes last."""
    expected = "user"
    for number, turn in enumerate(turns):
        role = turn["role"]
        if role == "system" and number == 0:
            continue
        if role == "system":
            raise ValueError(f"turn {number}: a system turn must be the first")
        if role != expected:
            raise ValueError(f"turn {number} is the {role}'s, but {_article(expected)} turn is missing before it")
        expected = "assistant" if expected == "user" else "user"
    if turns[-1]["role"] != "assistant":
        raise ValueError(f"ends with {_article(turns[-1]['role'])} turn instead of an assistant turn")
    return turns


def is_transcript(value: Any) -> bool:
    """Whether a string is an hh-rlhf transcript: ``Human: ...``, an empty line, ``Assistant: ...``."""
    return isinstance(value, str) and value.lstrip().startswith("Human:") and "\n\nAssistant:" in value


def transcript(text: str, key: str) -> Conversation:
    """The turns of an hh-rlhf transcript."""
    pieces = TRANSCRIPT.split("\n\n" + text.strip())[1:]
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        {"role": roles[name], "content": text_of(said, f"{key}, turn {number}").strip()}
        for number, (name, said) in enumerate(zip(pieces[::2], pieces[1::2], strict=True))
    ]


def best_path(node: dict[str, Any]) -> Conversation:
    """The path from the root of an Open Assistant tree along the best-ranked replies, up to its last answer."""
    path = messages([_oasst(node)], "prompt")
    while replies := ranked_replies(node):
        node = replies[0]
        path += messages([_oasst(node)], "replies")
    return path if path[-1]["role"] == "assistant" else path[:-1]


def ranked_replies(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The replies to a node that were not deleted, best first, unranked ones last."""
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
