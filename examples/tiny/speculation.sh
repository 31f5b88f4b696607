#!/usr/bin/env bash
# Trains a pair of models for speculative decoding, on the data of run.sh: a target with 16 layers, and a draft with one layer that
# learns from text of the target. About twenty minutes on two CPU cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
python -c 'import megalite' 2>/dev/null && command -v deepspeed >/dev/null || {
    echo "$0: megalite is not installed; create the environment (README.md, Quickstart), then run: source .venv/bin/activate" >&2
    exit 2
}
export OMP_NUM_THREADS=1 DS_ACCELERATOR=cpu HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1
run=tiny-$(date +%Y%m%d-%H%M%S)
words=data/tiny/draft
rm -rf $words && mkdir -p $words

deepspeed --log_level critical --num_gpus 2 pretrain.py --config examples/tiny/target.yaml --ds_config ds_configs/zero0.json run.name=$run-target
target=$(ls -d runs/$run-target/step-*/hf | tail -1)

python - $words/prompts.jsonl <<'PYTHON'
import json
import sys
from itertools import islice

from megalite.files.readers.documents import expand_inputs, read_documents

documents = read_documents(expand_inputs(["data/tiny/corpus/train-*.jsonl.zst"]))
with open(sys.argv[1], "w") as file:
    for document in islice(documents, 640):
        file.write(json.dumps({"prompt": " ".join(document.text.split()[20:30])}) + "\n")
PYTHON
python tools/generate.py $target --input $words/prompts.jsonl --output $words/answers.jsonl --batch_size 64 --max_new_tokens 160
python tools/preprocess_data.py --input $words/answers.jsonl --tokenizer $target --output $words/answers --no-append_eod

deepspeed --log_level critical --num_gpus 2 pretrain.py --config examples/tiny/draft.yaml --ds_config ds_configs/zero0.json run.name=$run-draft
draft=$(ls -d runs/$run-draft/step-*/hf | tail -1)

for prompt in "This function returns" "The parameters of the class are"; do
    python tools/generate.py $target "$prompt" --draft $draft --draft_tokens 4 --compare 3
done
