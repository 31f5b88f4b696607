"""One run: ``prepare`` checks and reads, ``samples`` tokenizes, ``session`` trains with TRL, ``export`` writes the model."""
