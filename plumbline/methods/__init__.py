"""Training methods, one file each: a method says what it needs, the engine decides how."""
