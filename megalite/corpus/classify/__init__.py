"""A linear text classifier: ``classifier`` scores, ``train`` learns from labelled documents."""
