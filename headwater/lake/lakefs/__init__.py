"""The lake on a lakeFS server. Needs the extra `lakefs`."""

from headwater.lake.lakefs._calls import ServerAnswerError
from headwater.lake.lakefs._lake import LakeFSLake
from headwater.lake.lakefs._settings import LakeFSSettings

__all__ = ["LakeFSLake", "LakeFSSettings", "ServerAnswerError"]
