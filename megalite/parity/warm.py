"""Imported last by the process from which ranks are forked: what is loaded by then is probed, and frozen."""

import gc

from megalite.training.distributed import quiet_deepspeed

quiet_deepspeed()
gc.freeze()  # the first collection in a rank would write to every object loaded here, and so copy its page
