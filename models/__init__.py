"""Models under test: one module per model, each with a ``load`` function."""
