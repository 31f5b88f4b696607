"""Continue a prompt with a Hugging Face model."""

import argparse

from megalite.config.errors import ConfigError, one_line_errors
from megalite.evaluation.hf_folder import load_model, start_of_text


@one_line_errors
def main() -> None:
    """``tools/generate.py``: the text appears as it is made."""
    parser = argparse.ArgumentParser(description="Continue a prompt.")
    parser.add_argument("model", help="a Hugging Face folder")
    parser.add_argument("prompt")
    parser.add_argument("--max_new_tokens", type=int, default=100)
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    parser.add_argument("--repetition_penalty", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name, least, wrong in (
        ("max_new_tokens", "at least 1", arguments.max_new_tokens < 1),
        ("temperature", "0 (greedy) or more", not 0 <= arguments.temperature < float("inf")),
        ("repetition_penalty", "more than 0; 1 is none", not 0 < arguments.repetition_penalty < float("inf")),
    ):
        if wrong:
            raise ConfigError(f"--{name} {getattr(arguments, name)}: give {least}")
    model, tokenizer = load_model(arguments.model)
    import torch
    import transformers

    transformers.set_seed(arguments.seed)
    ids = tokenizer(arguments.prompt)["input_ids"] or [start_of_text(tokenizer)]
    inputs = torch.tensor([ids], device=model.device)
    sampling = (
        {"do_sample": True, "temperature": arguments.temperature} if arguments.temperature > 0 else {"do_sample": False}
    )
    model.generate(
        inputs,
        attention_mask=torch.ones_like(inputs),
        **sampling,
        max_new_tokens=arguments.max_new_tokens,
        repetition_penalty=arguments.repetition_penalty,
        streamer=transformers.TextStreamer(tokenizer),
    )
