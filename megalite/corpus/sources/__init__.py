"""Where the documents of a recipe come from: files, datasets, installed packages."""
