"""Protocols: games between models, one short file each, and what they share."""
