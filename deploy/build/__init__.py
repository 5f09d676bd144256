"""Sources and requirements -> store paths and profiles, on the laptop; see `deploy.build.build`."""

from deploy.build.profiles import Built, build
from deploy.build.workshop import Workshop

__all__ = ["Built", "Workshop", "build"]
