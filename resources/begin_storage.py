"""As a program: makes Dagster's storage where it is missing. Several of its processes that start at once would each try to."""

from resources.dagster_home import dagster_instance
from resources.settings import load_settings

if __name__ == "__main__":
    with dagster_instance(load_settings()):
        pass
