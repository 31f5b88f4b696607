"""One training run: its folder, TRL's trainers and arguments, callbacks, the export."""
