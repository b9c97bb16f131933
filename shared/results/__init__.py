"""Where jobs and their payloads are kept: the row of each job, and bytes too large for a row."""
