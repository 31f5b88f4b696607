"""Forward and backward of our decoder against transformers' LlamaForCausalLM: one process, same size, same weights' dtype.

``python benchmarks/model_step.py --dtype bf16`` (add ``--size 1b --sequence 2048 --batch 4`` on a GPU). The rounds are
interleaved, so that a noisy machine disturbs both alike. Prints medians, tokens a second, utilisation and the ratio.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from megalite.config.model import ModelConfig
from megalite.model.build import build_model
from megalite.model.hf_config import hf_config_from_model
from megalite.model.layer_shapes import parameter_count
from megalite.parallel.mesh import Mesh
from megalite.planning.compute import flops_per_token
from megalite.training.engine import DTYPES
from megalite.training.peak import measure_peak_tflops

SIZES = {  # hidden, intermediate, layers, heads, key/value heads, vocabulary
    "16m": (384, 1024, 8, 6, 2, 8192),
    "125m": (768, 2048, 12, 12, 4, 32768),
    "1b": (2048, 5632, 20, 16, 8, 32768),
}


def main() -> None:
    """Time both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="16m")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--sequence", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    a = parser.parse_args()
    hidden, intermediate, layers, heads, kv_heads, vocab = SIZES[a.size]
    config = ModelConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=a.sequence,
    )
    device, dtype, mesh = torch.device("cuda" if torch.cuda.is_available() else "cpu"), DTYPES[a.dtype], Mesh.single()
    ours = build_model(config, mesh, seed=1, dtype=dtype).to(device)
    theirs = LlamaForCausalLM(LlamaConfig(**hf_config_from_model(config, a.dtype))).to(device, dtype)
    tokens = torch.randint(0, vocab, (a.batch, a.sequence + 1), device=device)
    inputs, labels = tokens[:, :-1], tokens[:, 1:]

    def our_step() -> None:
        (ours(inputs, labels=labels) / labels.numel()).backward()

    def their_step() -> None:
        logits = theirs(inputs, use_cache=False).logits
        F.cross_entropy(logits.float().flatten(0, 1), labels.flatten()).backward()

    steps: dict[str, tuple[Callable[[], None], torch.nn.Module]] = {
        "megalite": (our_step, ours),
        "transformers": (their_step, theirs),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(a.rounds + 2):
        for name, (step, model) in steps.items():
            model.zero_grad(set_to_none=True)
            start = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_number >= 2:
                seconds[name].append(time.perf_counter() - start)
    peak = measure_peak_tflops(device, dtype) * 1e12
    print(f"{parameter_count(config):,} parameters, {a.dtype}, B {a.batch}, S {a.sequence}, {device}")
    for name, values in seconds.items():
        speed = inputs.numel() / statistics.median(values)
        used = speed * flops_per_token(config, a.sequence) / peak
        print(
            f"{name:<14} {statistics.median(values) * 1e3:9.1f} ms  {speed:10,.0f} tokens/s  {used:.1%} of measured peak"
        )
    ratio = statistics.median(b / a for a, b in zip(seconds["megalite"], seconds["transformers"], strict=True))
    print(f"speed of megalite / transformers: {ratio:.3f} (median of {a.rounds} rounds' ratios)")


if __name__ == "__main__":
    main()
