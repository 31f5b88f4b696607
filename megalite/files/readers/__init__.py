"""Readers of jsonl, parquet, txt, WARC and HTML files; malformed input is counted and located.

Read ``input_files`` (finding and opening), ``pieces`` (large files cut for parallel work), ``documents`` (every kind of
file), ``record_blocks`` (only the texts of wanted keys, fast), ``input_units`` (pieces grouped into tasks), then the
formats ``json_lines``, ``parquet_rows`` and ``web_pages``, and ``malformed``.
"""
