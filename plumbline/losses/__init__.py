"""Pure functions from log-probabilities to losses per element: the caller reduces.   Imports torch only."""
