"""The front door: ``deepspeed pretrain.py --config my.yaml --ds_config ds_configs/zero3.json``."""

from megalite.pretrain import main

if __name__ == "__main__":
    main()
