"""The service that the end-to-end tests share."""

from tests.e2e.conftest import client, service

__all__ = ["client", "service"]
