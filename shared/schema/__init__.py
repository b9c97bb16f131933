"""The contract: what travels over the wire and what is declared in a model repository."""
