"""The only package that computes: gate, subject, search, store audit and their records."""
