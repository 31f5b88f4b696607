"""Pretrain a model: ``deepspeed pretrain.py --config my.yaml --ds_config ds_configs/zero3.json``."""

from megalite.cli import run

if __name__ == "__main__":
    run("pretrain")
