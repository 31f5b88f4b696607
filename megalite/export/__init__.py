"""Export a checkpoint as a Hugging Face folder in a chosen precision, or a Hugging Face folder as a GGUF file.

Read ``exported_folder`` first (the steps; ``export_hf`` is the command), then ``checkpoint_source`` (which file has the most
precise copy of a tensor), ``tensor_stream`` (write tensors a few megabytes at a time), ``logit_error`` and
``streamed_model`` (the effect of rounding), ``model_card`` and ``run_facts``. ``gguf_file`` and ``gguf_vocabulary`` write
a Llama folder as one file for llama.cpp.
"""
