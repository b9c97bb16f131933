"""What runs in more than one place; knows nothing of Lambda or the CDK."""
