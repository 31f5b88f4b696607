"""A Hugging Face folder goes in; a model and a tokenizer come out, or one line that says what is wrong with the folder.

Nothing in a folder is trusted. Read ``model_folder`` (is it one, and does it bring code?), ``tensor_headers`` (name, shape
and dtype of every weight, nothing read), ``config_bounds`` (sizes that the weights cannot have), ``architecture`` (the
config's tensors against the files'), then ``load``, the only place that calls ``from_pretrained``.
"""
