"""Results of a run, on the controller: records, collection, validation, follow-up; no torch."""
