"""What a stage leaves for the next, unit by unit.

``unit_writer`` writes a unit: ``kept_shards`` (documents) and ``written_units`` (its record); ``kept_units`` reads them.
"""
