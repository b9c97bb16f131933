"""Records which versions of models a deployment began or ceased to serve."""
