"""The decoder, in transformers' names, as one list of layers; a pipeline stage is a slice of the list.

In: a ``ModelConfig`` and a ``Mesh``. Out: a ``CausalLM`` with initial weights. Read ``layer_list`` and ``causal_lm``,
then the parts (``rope``, ``attention``, ``mlp``, ``norm``, ``decoder_layer``), then ``init`` and ``build``. ``hf_names``
and ``hf_config`` say how parameters and config are called in a Hugging Face folder.
"""
