"""Loads a model and a tokenizer from a Hugging Face folder, or says in one line what is wrong with the folder.

Folders are not trusted. Read ``check_folder`` (required files, pickles, code), ``tensor_headers`` (name, shape and dtype of
every weight, without reading data), ``config_bounds`` (sizes that do not fit the weights), ``architecture`` (the tensors of
the config against those of the files), then ``load``, the only module that calls ``from_pretrained``.
"""
