"""A fleet simulated second by second under the scaler's own decisions: what waits, and what it costs."""
