"""Language models: loading, the scoring kernel, the decoder, endpoints.   The only place that imports transformers."""
