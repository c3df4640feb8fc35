"""What looks for a model's failures: questions that other models write, and what became of them."""
