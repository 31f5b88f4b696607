"""Where documents come from, beside files: ``sections`` (what a recipe can name), ``installed_docs`` and ``hub``."""
