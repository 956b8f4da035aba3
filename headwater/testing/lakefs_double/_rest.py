"""The REST subset: `/api/v1/...` to operations of the store. Importing the handlers registers their routes."""

from headwater.testing.lakefs_double import _rest_history, _rest_objects, _rest_refs
from headwater.testing.lakefs_double._routing import BASE, Rest

__all__ = ["BASE", "HANDLERS", "Rest"]

HANDLERS = (_rest_refs, _rest_history, _rest_objects)
