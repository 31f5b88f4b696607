"""Documents out of jsonl, parquet, txt, WARC and HTML files; malformed input is counted and located.

Read ``documents`` (all kinds of files), ``pieces`` (large files cut for parallel work), ``input_units`` (pieces grouped into
tasks), ``record_blocks`` (only the wanted keys, fast), then ``json_lines``, ``parquet_rows``, ``web_pages``, ``malformed``.
"""
