"""What is installed here, as lines that a person and `pip install -r` can read."""

import importlib.metadata
import platform
import re


def environment_lock() -> str:
    """Interpreter (as a comment) and sorted `name==version` of every installed distribution."""
    found = {
        f"{re.sub(r'[-_.]+', '-', item.name).lower()}=={item.version}"
        for item in importlib.metadata.distributions()
        if item.metadata["Name"]
    }
    return "\n".join([f"# {platform.python_implementation()} {platform.python_version()}", *sorted(found)]) + "\n"
