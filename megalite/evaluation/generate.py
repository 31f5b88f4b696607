"""Continue a prompt with a Hugging Face model."""

import argparse

from megalite.config.errors import one_line_errors
from megalite.evaluation.hf_folder import load_model


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
    model, tokenizer = load_model(arguments.model)
    import transformers

    transformers.set_seed(arguments.seed)
    inputs = tokenizer(arguments.prompt, return_tensors="pt").to(model.device)
    sampling = (
        {"do_sample": True, "temperature": arguments.temperature} if arguments.temperature > 0 else {"do_sample": False}
    )
    model.generate(
        **inputs,
        **sampling,
        max_new_tokens=arguments.max_new_tokens,
        repetition_penalty=arguments.repetition_penalty,
        streamer=transformers.TextStreamer(tokenizer),
    )
