"""What `laneway models` does: each module is one verb or one file format of the model repository."""
