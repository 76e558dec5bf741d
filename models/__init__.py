"""Models under test: one module per model, each with a ``load`` function."""

if __name__ != "robustness.models":
    # Imported from a checkout's root folder, this package would be a second copy of its modules.
    raise ImportError("this folder is the package robustness.models; import that instead")
