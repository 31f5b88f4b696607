"""The tokens with a meaning, their ids, and the chat template that uses them."""

PAD, END_OF_TEXT, TURN_START, TURN_END = "<|pad|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"
NAMED = (PAD, END_OF_TEXT, TURN_START, TURN_END)
"""Ids 0 to 3. End of text is both bos and eos: it stands between documents. A byte-level vocabulary has no unknowns."""

CHAT_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' %}
{%- generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}
{%- else %}
{{- message['content'] + '<|im_end|>' }}
{%- endif %}
{{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
"""ChatML. The ``generation`` marks say which tokens are the assistant's own, the end of the turn among them."""


def special_tokens(reserved: int) -> list[str]:
    """All special tokens in the order of their ids: the named ones, then slots for later use."""
    return [*NAMED, *(f"<|reserved_{number}|>" for number in range(reserved))]
