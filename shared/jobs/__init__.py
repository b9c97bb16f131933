"""The life of a job: accepted, run, swept. Knows nothing of Lambda and of HTTP."""
