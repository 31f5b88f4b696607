"""The file formats that hold a tokenizer: ``tokenizer.json``, GPT-2's two files, sentencepiece's ``tokenizer.model``."""
