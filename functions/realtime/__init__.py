"""The function that answers inference on the spot, one for each pool of models."""
