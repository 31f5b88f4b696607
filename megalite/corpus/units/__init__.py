"""What a unit of work leaves for the next stage: ``kept_shards`` (documents), ``unit_books`` (counts), ``kept_units``."""
