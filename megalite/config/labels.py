"""The label of a token that carries no loss, as in PyTorch's and transformers' cross entropy."""

IGNORE = -100
