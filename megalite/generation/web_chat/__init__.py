"""The local chat page: ``server`` (HTTP), ``guard`` (who has access), ``reply_queue`` (one reply at a time)."""
