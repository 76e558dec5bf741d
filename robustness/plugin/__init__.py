"""The pytest plugin: hooks, options, collection, pre-run checks, worker and controller."""
