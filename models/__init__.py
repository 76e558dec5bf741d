"""What is measured: one module a model, each with a ``load`` function."""
