"""The configuration of a run: schema, loading, checks, and the merge with a DeepSpeed JSON. No torch here.

In: a YAML file, ``section.key=value`` overrides and a DeepSpeed JSON. Out: one frozen ``RunConfig`` and the merged
DeepSpeed dict. Read ``model`` and ``schema`` (the keys), ``load`` (files and overrides), ``ds_config`` (the merge).
"""
