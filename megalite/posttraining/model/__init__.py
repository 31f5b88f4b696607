"""The model that is tuned: its folder, adapters, and whether samples can be packed with it."""
