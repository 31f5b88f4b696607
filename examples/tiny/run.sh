#!/usr/bin/env bash
# The whole road on two CPU cores: text of the installed packages -> tokens -> ZeRO-3 on two ranks -> Hugging Face folder ->
# SFT, DPO -> evaluation before and after -> a conversation.
set -euo pipefail
cd "$(dirname "$0")/../.."
python -c 'import megalite' 2>/dev/null && command -v deepspeed >/dev/null || {
    echo "$0: python has no megalite here; make the environment (README.md, Quickstart), then: source .venv/bin/activate" >&2
    exit 2
}
data=data/tiny
export OMP_NUM_THREADS=1 DS_ACCELERATOR=cpu HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1
step() { printf '\n== %s\n' "$*"; }

step "1. corpus: documentation of the installed packages, filtered, deduplicated, shuffled, split, tokenized (Megatron's .bin/.idx)"
python tools/prepare_corpus.py --recipe examples/tiny/corpus.yaml --output $data/corpus
python tools/inspect_data.py $data/corpus/train --tokenizer $data/corpus/tokenizer

step "2. the plan, then training: DeepSpeed ZeRO-3 on two CPU ranks"
run=tiny-$(date +%Y%m%d-%H%M%S)
python pretrain.py --check --config examples/tiny/pretrain.yaml --ds_config ds_configs/zero3.json \
    hardware.world_size=2 run.name=$run
deepspeed --log_level critical --num_gpus 2 pretrain.py --config examples/tiny/pretrain.yaml --ds_config ds_configs/zero3.json run.name=$run
model=$(ls -d runs/$run/step-*/hf | tail -1)

step "3. what the first sample of step 100 was, back to its file and line"
python tools/inspect_data.py --config examples/tiny/pretrain.yaml --step 100 --sample 0

step "4. a continuation by transformers: AutoModelForCausalLM + AutoTokenizer on $model"
python tools/generate.py $model "This function returns" --max_new_tokens 40 --repetition_penalty 1.2

step "5. the same text in fewer passes: the next tokens are looked up in the text so far, and checked"
python tools/generate.py $model "This function returns" --prompt_lookup 10

step "6. conversations from docstrings, SFT on two ranks with its mask doctor, then DPO with ZeRO-2"
python tools/make_chat_rows.py --output $data/chats
torchrun --nproc-per-node 2 tools/sft.py --config examples/tiny/sft.yaml model.path=$model run.name=$run-sft
deepspeed --log_level critical --num_gpus 2 tools/preferences.py --config examples/tiny/dpo.yaml --ds_config ds_configs/zero2.json \
    model.path=runs/$run-sft/hf run.name=$run-dpo

step "7. before and after: bits per byte on held-out documents, and which text continues this one (chance 0.25)"
python tools/make_cloze_task.py --input "$data/corpus/valid-*.jsonl.zst" --output $data/cloze --max_items 40
python tools/evaluate.py $model runs/$run-sft/hf runs/$run-dpo/hf --tasks $data/cloze/cloze.yaml \
    --text "$data/corpus/valid-*.jsonl.zst" --output runs/$run-evaluation

step "8. smaller: the matrices in 8 bits, in a file that llama.cpp reads"
python tools/quantize.py $model --output runs/$run-q8.gguf --format gguf-q8-0 --text "$data/corpus/valid-*.jsonl.zst" --max_documents 5

step "9. a conversation"
printf 'What does the function len do?\nAnd sorted?\n' | python tools/generate.py runs/$run-dpo/hf --chat --max_new_tokens 40

cat <<END

The model is in $model, its fine-tuned form in runs/$run-dpo/hf.
Look at  $data/corpus/ledger.html, $data/corpus/tokenizer/design_report.html, runs/$run-sft/mask_doctor.html and runs/$run-evaluation
Talk     python tools/chat.py runs/$run-dpo/hf
END
