"""The decoder as one list of layers, with the names of transformers; a pipeline stage is a slice of the list.

In: a ``ModelConfig`` and a ``Mesh``. Out: a ``CausalLM``, or this rank's ``PipelineStage``, with initial weights. Read
``layer_list`` and ``causal_lm``, then the layers (``decoder_layer``, ``attention``, ``mlp``, ``norm``, ``rope``,
``documents``, ``head``: logits or loss), ``layer_execution`` and ``attention_product`` (how a layer runs), ``init`` and
``build``, then ``pipeline_split`` and ``pipeline_stage``. ``layer_shapes`` says what each layer holds and computes.
``hf_names`` and ``hf_config`` translate names and config to a Hugging Face folder.
"""
