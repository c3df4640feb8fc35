"""Measuring: one file per evaluation, a plain function from a model and cases to a table with intervals."""
