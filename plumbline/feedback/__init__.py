"""Feedback on request: who is asked, and how the answers come back."""
