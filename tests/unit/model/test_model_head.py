"""The head gives logits without labels and their summed loss with them."""

import pytest
import torch
from torch.nn import functional as F

from megalite.config.model import ModelConfig
from megalite.model.build import build_model
from megalite.parallel.mesh import Mesh

CONFIG = ModelConfig(
    vocab_size=29,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=1,
    num_attention_heads=2,
    initializer_range=0.3,
)


@pytest.mark.parametrize("tied", [False, True])
def test_the_loss_is_that_of_the_heads_own_logits(tied: bool) -> None:
    config = CONFIG.model_copy(update={"tie_word_embeddings": tied})
    tokens = torch.randint(0, 29, (2, 9), generator=torch.Generator().manual_seed(0))
    inputs, labels = tokens[:, :-1], tokens[:, 1:].clone()
    labels[0, :5] = -100
    gradients = []
    for with_labels in (False, True):
        model = build_model(config, Mesh.single(), seed=1)
        if with_labels:
            loss = model(inputs, labels=labels)
        else:
            logits = model(inputs)
            assert logits.shape == (2, 8, 29)
            loss = expected = -logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[labels >= 0].sum()
        loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


def test_the_loss_of_a_bf16_model_is_in_fp32() -> None:
    model = build_model(CONFIG, Mesh.single(), seed=1, dtype=torch.bfloat16)
    tokens = torch.randint(0, 29, (4, 64), generator=torch.Generator().manual_seed(0))
    loss, logits = model(tokens, labels=tokens), model(tokens)
    assert (loss.dtype, logits.dtype) == (torch.float32, torch.bfloat16)
    assert loss.item() == pytest.approx(
        F.cross_entropy(logits.double().flatten(0, 1), tokens.flatten(), reduction="sum").item(), rel=1e-6
    )
