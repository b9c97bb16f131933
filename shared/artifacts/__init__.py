"""Where model files come from that are too large for a package: S3, by their digests. Imports no boto3."""
