"""Finds out within seconds whether the hub can be reached; its libraries retry for minutes."""

import os
import threading
import urllib.error
import urllib.request

SECONDS = 4.0


def go_offline() -> None:
    """Restrict the hub's libraries to their caches. Call this before they are imported."""
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ.setdefault(variable, "1")


def hub_answers() -> bool:
    """Whether the hub (or the mirror in ``HF_ENDPOINT``) answers, through the proxy if one is set."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    answered = threading.Event()
    threading.Thread(target=_request, args=(answered,), daemon=True).start()  # a name lookup has no timeout of its own
    return answered.wait(SECONDS)


def _request(answered: threading.Event) -> None:
    request = urllib.request.Request(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=SECONDS).close()
    except urllib.error.HTTPError:
        answered.set()  # an error response is an answer
    except (OSError, ValueError):
        return
    answered.set()
