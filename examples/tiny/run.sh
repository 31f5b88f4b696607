#!/usr/bin/env bash
# The whole road on two CPU cores: text of the installed packages -> tokenizer -> ZeRO-3 on two ranks -> Hugging Face folder.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=data/tiny
export OMP_NUM_THREADS=1 DS_ACCELERATOR=cpu HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1
step() { printf '\n== %s\n' "$*"; }

step "1. corpus: documentation and docstrings of the installed packages, cleaned"
python tools/prepare_corpus.py --recipe examples/tiny/corpus.yaml --output $data/corpus

step "2. tokenizer: byte-level BPE"
[ -d $data/tokenizer ] ||
    python tools/train_tokenizer.py --input "$data/corpus/train-*.jsonl.zst" --vocab_size 8192 --output $data/tokenizer

step "3. token ids in Megatron's .bin/.idx"
for split in train valid; do
    python tools/preprocess_data.py --input "$data/corpus/$split-*.jsonl.zst" --tokenizer $data/tokenizer \
        --output_prefix $data/$split --workers 2
done

step "4. the plan, then training: DeepSpeed ZeRO-3 on two CPU ranks"
run=tiny-$(date +%Y%m%d-%H%M%S)
python pretrain.py --check --config examples/tiny/pretrain.yaml --ds_config ds_configs/zero3.json hardware.world_size=2
deepspeed --num_gpus 2 pretrain.py --config examples/tiny/pretrain.yaml --ds_config ds_configs/zero3.json run.name=$run
model=$(ls -d runs/$run/step-*/hf | tail -1)

step "5. a continuation by transformers: AutoModelForCausalLM + AutoTokenizer on $model"
python tools/generate.py $model "This function returns" --max_new_tokens 40 --repetition_penalty 1.2

step "6. bits per byte on held-out documents"
python tools/bits_per_byte.py $model --input "$data/corpus/valid-*.jsonl.zst" --max_documents 20

step "7. an lm-eval task from a local file: which text continues this one? (chance 0.25)"
python tools/make_cloze_task.py --input "$data/corpus/valid-*.jsonl.zst" --output $data/cloze --max_items 40
python tools/evaluate.py $model --tasks $data/cloze/cloze.yaml

step "8. conversations from docstrings, SFT with its mask doctor, then DPO"
python tools/make_chat_rows.py --output $data/chats
accelerate launch --cpu --num_processes 2 tools/sft.py --config examples/tiny/sft.yaml model.path=$model run.name=$run-sft
deepspeed --num_gpus 2 tools/preferences.py --config examples/tiny/dpo.yaml --ds_config ds_configs/zero2.json \
    model.path=runs/$run-sft/hf run.name=$run-dpo

printf '\nThe model is in %s, its fine-tuned form in %s\n' "$model" "runs/$run-dpo/hf"
