"""Nouns and verbs.   Imports nothing of ours and no torch."""
