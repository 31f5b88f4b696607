"""The model to tune: its folder, LoRA adapters, and whether samples can be packed."""
