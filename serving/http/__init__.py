"""The prediction service over HTTP: a raw ASGI application on uvicorn. See `run`."""

from serving.http._desk import Desk, Limits
from serving.http._keys import Key, Keys, KeysError, Role, UnprotectedError
from serving.http._server import ServerSettings, run

__all__ = ["Desk", "Key", "Keys", "KeysError", "Limits", "Role", "ServerSettings", "UnprotectedError", "run"]
