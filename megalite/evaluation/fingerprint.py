"""Which model this is: a hash that changes with its weights, its config or its tokenizer."""

from pathlib import Path

from megalite.evaluation.json_output import content_hash, sha256_of_file
from megalite.huggingface.load import loading

KINDS = {".safetensors", ".bin", ".json", ".model", ".jinja", ".txt", ".py"}
"""Files that make a model what it is; a model card does not."""


def model_fingerprint(model: str) -> str:
    """sha256 over the files of a folder, or over the commit of a hub model. Raises: DataError where there is none."""
    folder = Path(model)
    if not folder.is_dir():
        import huggingface_hub

        with loading(model):
            return content_hash(Path(huggingface_hub.hf_hub_download(model, "config.json")).parent.name)
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in KINDS)
    return content_hash([[path.name, sha256_of_file(path)] for path in files])
