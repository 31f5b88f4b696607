"""The decoder, in transformers' names, as one list of layers; a pipeline stage is a slice of the list.

In: a ``ModelConfig`` and a ``Mesh``. Out: a ``CausalLM``, or this rank's ``PipelineStage`` of it, with initial weights. Read
``layer_list`` and ``causal_lm``, then the parts (``decoder_layer``, ``attention``, ``mlp``, ``norm``, ``rope``,
``documents``), then ``init`` and ``build``, then ``pipeline_split`` and ``pipeline_stage``: the same list under DeepSpeed's
pipeline. ``layer_shapes`` says what each layer holds and computes, ``hf_names`` and ``hf_config`` how parameters and config
are called in a Hugging Face folder.
"""
