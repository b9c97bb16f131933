"""The function that decides, every minute and when a submit wakes it, how many workers a fleet has."""
