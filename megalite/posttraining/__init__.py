"""Supervised fine-tuning and preference tuning of a Hugging Face model folder, with TRL and our DeepSpeed JSONs.

In: any model folder with a chat template, and chat, instruction or preference rows. Out: ``runs/NAME/hf``, again a model
folder. Read ``schema`` (every key) and ``sft`` or ``preferences`` (the commands), then ``rows`` (files to conversations),
``mask`` (which tokens carry loss), ``model`` (what is checked before the weights are loaded) and ``run`` (training, resume,
export).
"""
