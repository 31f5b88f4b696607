"""The learning rate as a pure function of the step. A resumed run needs no scheduler state."""

import math

from megalite.config.schema import ScheduleSection


def learning_rate(schedule: ScheduleSection, peak: float, step: int, total_steps: int) -> float:
    """The learning rate of optimizer step ``step``, counted from 0.

    Linear warm-up reaches ``peak`` at the step after ``warmup_steps``; the decay ends at ``min_lr_ratio * peak`` on the
    last step. ``cosine``: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5 without restarts. ``wsd``: Hu et al. 2024,
    arXiv:2404.06395, section 4.
    """
    if step < schedule.warmup_steps:
        return peak * (step + 1) / (schedule.warmup_steps + 1)
    decay_steps = total_steps - 1 - schedule.warmup_steps
    progress = min(1.0, (step - schedule.warmup_steps) / decay_steps) if decay_steps > 0 else 0.0
    floor = schedule.min_lr_ratio
    match schedule.decay:
        case "cosine":
            factor = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
        case "linear":
            factor = 1 - (1 - floor) * progress
        case "wsd":
            stable = 1 - schedule.decay_fraction
            tail = (progress - stable) / schedule.decay_fraction if progress > stable else 0.0
            factor = 1 - (1 - floor) * tail
        case _:
            factor = 1.0
    return peak * factor
