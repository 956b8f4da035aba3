"""The services of other rooms' tests."""

from tests.serving.conftest import released
from tests.serving.http.conftest import start

__all__ = ["released", "start"]
