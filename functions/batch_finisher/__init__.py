"""The function that joins the files of batches, and looks after those that somebody forgot."""
