"""Which tokens of a conversation carry loss: the encoder, the checks before training, and a page that shows samples."""
