"""The function that splits the inputs of batches into chunks."""
