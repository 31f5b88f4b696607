"""Whether the hub can be reached, found out in seconds instead of minutes of retries."""

import os
import threading
import urllib.error
import urllib.request

SECONDS = 4.0


def go_offline() -> None:
    """Let the hub's libraries look at their caches only. To be called before they are imported."""
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ.setdefault(variable, "1")


def hub_answers() -> bool:
    """Whether the hub (or the mirror in ``HF_ENDPOINT``) answers at all, over the proxy where one is set."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    answered = threading.Event()
    threading.Thread(target=_ask, args=(answered,), daemon=True).start()  # looking up a name cannot be timed otherwise
    return answered.wait(SECONDS)


def _ask(answered: threading.Event) -> None:
    request = urllib.request.Request(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=SECONDS).close()
    except urllib.error.HTTPError:
        answered.set()  # it refuses, so it is there
    except (OSError, ValueError):
        return
    answered.set()
