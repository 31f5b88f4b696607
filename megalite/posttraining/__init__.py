"""A Hugging Face folder learns to answer: supervised fine-tuning and preference tuning by TRL, on our DeepSpeed JSONs.

In: any model folder with a chat template, and chat, instruction or preference rows. Out: ``runs/NAME/hf``, a folder as
good as the first. Read ``schema`` (the keys), ``rows`` and ``chat_rows`` / ``preference_rows`` (what a row may look
like), ``chat_mask`` (which tokens carry loss), ``mask_doctor`` (who looks before the training begins), ``sft`` and
``preferences`` (the commands), ``trainers`` (what is ours on top of TRL's trainers), ``export``.
"""
