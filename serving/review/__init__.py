"""The page of the review queue: a small server beside the service, for people. It writes answers to the lake as the command does."""

from serving.review._server import PageSettings, run

__all__ = ["PageSettings", "run"]
