"""A linear text classifier: ``classifier`` scores documents, ``train`` trains on labelled ones, ``logistic`` fits."""
