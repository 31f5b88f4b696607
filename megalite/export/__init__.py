"""A checkpoint goes in; a folder that transformers, vLLM and llama.cpp load comes out, in the precision asked for.

Read ``exported_folder`` first (what is done, in order; ``export_hf`` is its command), then ``checkpoint_source`` (which file
holds the best copy of a tensor), ``tensor_stream`` (a file of tensors written a few megabytes at a time), ``logit_error``
with ``streamed_model`` (what rounding did to the model), and ``model_card`` with ``run_facts``. ``gguf_file`` with
``gguf_vocabulary`` writes any Llama folder as one file for llama.cpp.
"""
