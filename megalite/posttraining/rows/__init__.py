"""Read rows of files and hub datasets, and parse them into conversations, preference pairs or questions."""
