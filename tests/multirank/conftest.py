"""What the test modules here import is loaded once, by the process from which their ranks are forked."""

from megalite.parity import launch

launch.PRELOADED[:0] = ["pytest", "runs", "transformers.models.auto.modeling_auto"]
