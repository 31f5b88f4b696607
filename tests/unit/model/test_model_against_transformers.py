"""The decoder against transformers' LlamaForCausalLM with the same weights."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from stories import write_stories
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from megalite.config.errors import ConfigError
from megalite.config.model import ModelConfig
from megalite.config.schema import ActivationCheckpointing
from megalite.model.build import build_model
from megalite.model.causal_lm import CausalLM
from megalite.model.hf_config import hf_config_from_model, model_config_from_hf
from megalite.model.hf_names import named_hf_parameters
from megalite.model.layer_execution import LayerExecution
from megalite.parallel.mesh import Mesh
from megalite.training.checkpoint.tensor_files import write_shard

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
VARIANTS = {
    "multi-head": {},
    "grouped-query": {"num_key_value_heads": 2},
    "one key/value head": {"num_key_value_heads": 1},
    "tied": {"tie_word_embeddings": True, "num_key_value_heads": 3},
    "llama3 rope": {"rope_parameters": LLAMA3, "num_key_value_heads": 2},
    "linear rope": {"rope_parameters": {"rope_type": "linear", "factor": 4.0}},
    "wide heads": {"head_dim": 16},
    "biases": {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 2},
}


def pair(tmp_path: Path, changes: dict) -> tuple[ModelConfig, CausalLM, LlamaForCausalLM]:
    """Our model and transformers', loaded from a folder with our names and our config.json."""
    import json

    config = ModelConfig(**(SHAPE | changes))
    ours = build_model(config, Mesh.single(), seed=3)
    for name, parameter in named_hf_parameters(ours):
        if name.endswith(("bias", "norm.weight")):  # make every kind of parameter count
            torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.3)
    (tmp_path / "config.json").write_text(json.dumps(hf_config_from_model(config, "fp32")))
    write_shard(tmp_path / "model.safetensors", {n: p.detach() for n, p in named_hf_parameters(ours)})
    reference = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    return config, ours, reference


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=list(VARIANTS))
def test_logits_and_gradients_equal_transformers(tmp_path: Path, changes: dict) -> None:
    config, ours, reference = pair(tmp_path, changes)
    tokens = torch.randint(0, config.vocab_size, (2, 201), generator=torch.Generator().manual_seed(0))
    inputs, labels = tokens[:, :-1], tokens[:, 1:]
    got, expected = ours(inputs), reference(inputs).logits
    assert (got - expected).abs().max() < 1e-5
    for logits in (got, expected):
        F.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()
    theirs = dict(reference.named_parameters())
    for name, parameter in named_hf_parameters(ours):
        assert torch.allclose(parameter.grad, theirs[name].grad, atol=1e-6, rtol=1e-4), name


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=list(VARIANTS))
def test_config_survives_the_way_through_config_json(changes: dict) -> None:
    config = ModelConfig(**(SHAPE | changes))
    read = LlamaConfig(**hf_config_from_model(config, "bf16", bos_token_id=1, eos_token_id=2))
    back = model_config_from_hf(read.to_dict())
    assert (back.head_size, back.key_value_heads) == (config.head_size, config.key_value_heads)
    excluded = {"head_dim", "num_key_value_heads"}
    assert back.model_dump(exclude=excluded) == config.model_dump(exclude=excluded)


def test_a_config_json_of_before_transformers_5_is_read() -> None:
    values = hf_config_from_model(ModelConfig(**(SHAPE | {"rope_parameters": LLAMA3})), "fp32")
    del values["rope_parameters"]
    assert model_config_from_hf(values).rope_parameters.factor == 8.0


@pytest.mark.parametrize("absent", ["rms_norm_eps", "max_position_embeddings", "tie_word_embeddings", "rope_theta"])
def test_an_absent_key_means_what_transformers_means(absent: str) -> None:
    values = hf_config_from_model(ModelConfig(**SHAPE), "fp32")
    del values[absent]
    values["rope_parameters"].pop(absent, None)
    read, back = LlamaConfig(**values), model_config_from_hf(values)
    assert back.rope_parameters.rope_theta == read.rope_parameters["rope_theta"]
    if absent != "rope_theta":
        assert getattr(back, absent) == getattr(read, absent)


def test_theta_beside_the_rope_parameters_is_not_overlooked() -> None:
    values = hf_config_from_model(ModelConfig(**SHAPE), "fp32") | {"rope_theta": 5e5}
    del values["rope_parameters"]["rope_theta"]
    assert LlamaConfig(**values).rope_parameters["rope_theta"] == 5e5
    assert model_config_from_hf(values).rope_parameters.rope_theta == 5e5


@pytest.mark.parametrize("key", [{"model_type": "gpt2"}, {"attention_dropout": 0.1}, {"hidden_act": "gelu"}])
def test_a_model_that_we_cannot_express_is_refused_by_key(key: dict) -> None:
    values = hf_config_from_model(ModelConfig(**SHAPE), "fp32") | key
    with pytest.raises(ConfigError, match=next(iter(key))):
        model_config_from_hf(values)


@pytest.mark.parametrize("masked", [False, True], ids=["whole rows", "documents"])
def test_activation_checkpointing_changes_no_bit(masked: bool) -> None:
    config = ModelConfig(**SHAPE)
    tokens = torch.randint(0, config.vocab_size, (2, 32))
    positions = torch.cat([torch.arange(20), torch.arange(12)]).repeat(2, 1) if masked else None
    outcomes = []
    kinds: tuple[ActivationCheckpointing, ...] = ("none", "selective", "full")
    for kind in kinds:
        model = build_model(config, Mesh.single(), seed=1, execution=LayerExecution(kind))
        loss = model(tokens, positions).logsumexp(-1).sum()
        loss.backward()
        outcomes.append([loss, *[p.grad for p in model.parameters()]])
    for outcome in outcomes[1:]:
        assert all(torch.equal(a, b) for a, b in zip(outcome, outcomes[0], strict=True))


def test_masked_documents_give_what_each_gives_alone() -> None:
    config = ModelConfig(**SHAPE)
    model = build_model(config, Mesh.single(), seed=1)
    lengths = [[7, 1, 12, 12], [32]]
    tokens = torch.randint(0, config.vocab_size, (2, 32))
    positions = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in lengths])
    together = model(tokens, positions)
    for row, starts in enumerate(lengths):
        alone = [model(piece[None])[0] for piece in tokens[row].split(starts)]
        assert torch.allclose(together[row], torch.cat(alone), atol=1e-5)


def test_masked_documents_equal_transformers_with_its_mask() -> None:
    config = ModelConfig(**SHAPE)
    model = build_model(config, Mesh.single(), seed=1)
    reference = LlamaForCausalLM(LlamaConfig(**hf_config_from_model(config, "fp32"), attn_implementation="eager"))
    reference.load_state_dict(dict(named_hf_parameters(model)), strict=not config.tie_word_embeddings)
    tokens = torch.randint(0, config.vocab_size, (1, 32))
    positions = torch.cat([torch.arange(9), torch.arange(23)])[None]
    document = (positions == 0).cumsum(-1)
    same = (document[:, :, None] == document[:, None, :]).tril()
    mask = torch.zeros(same.shape).masked_fill(~same, float("-inf"))[:, None]
    expected = reference(input_ids=tokens, position_ids=positions, attention_mask=mask).logits
    assert torch.allclose(model(tokens, positions), expected, atol=1e-5)


def test_a_model_that_has_generated_can_be_trained() -> None:
    """The rope tables are kept from one forward to the next; none may be an inference tensor or too short."""
    config = ModelConfig(**SHAPE)
    model, fresh = (build_model(config, Mesh.single(), seed=1) for _ in range(2))
    tokens = torch.randint(0, config.vocab_size, (2, 32))
    with torch.inference_mode():
        model(tokens[:, :8])
        model(tokens)
    assert torch.equal(model(tokens[:, :16]), fresh(tokens[:, :16]))
    for each in (model, fresh):
        each(tokens).logsumexp(-1).sum().backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(model.parameters(), fresh.parameters(), strict=True))


def test_initial_weights_have_the_documented_deviations() -> None:
    config = ModelConfig(**(SHAPE | {"hidden_size": 192, "initializer_range": 0.02}))
    weights = dict(named_hf_parameters(build_model(config, Mesh.single(), seed=1)))
    assert weights["model.embed_tokens.weight"].std().item() == pytest.approx(0.02, rel=0.05)
    assert weights["model.layers.1.mlp.down_proj.weight"].std().item() == pytest.approx(0.02 / 6**0.5, rel=0.05)
    assert not torch.equal(
        weights["model.layers.0.self_attn.q_proj.weight"], weights["model.layers.1.self_attn.q_proj.weight"]
    )


def test_a_published_model_writes_its_published_text(shared_data: Path, tmp_path: Path) -> None:
    """stories260K (karpathy/tinyllamas): 200 greedy tokens from BOS, character for character."""
    source = shared_data / "models" / "stories260K"
    folder = write_stories(source, tmp_path / "stories")
    tensors = load_file(folder / "model.safetensors")
    model = build_model(model_config_from_hf(json.loads((folder / "config.json").read_text())), Mesh.single(), seed=0)
    with torch.no_grad():
        for name, parameter in named_hf_parameters(model):
            parameter.copy_(tensors.pop(name))
    assert not tensors
    tokens = [1]
    with torch.no_grad():
        for _ in range(200):
            following = int(model(torch.tensor([tokens]))[0, -1].argmax())
            if following == 1:
                break
            tokens.append(following)
    text = AutoTokenizer.from_pretrained(folder).decode(tokens, skip_special_tokens=True)
    assert text.strip() == (source / "expected_greedy_200.txt").read_text().strip()
