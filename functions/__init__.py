"""One folder per Lambda function; each handler's import path is its handler string."""
