"""The routes, thin: check, ask the service, answer."""
