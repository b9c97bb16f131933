"""Where work runs, decided from the model and the latency class that was asked for."""
