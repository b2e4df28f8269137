"""Python loads this in every process that has this folder on its path: the door for orders."""

import os

if "NOISELOOM_CHAOS" in os.environ:
    from tests.chaos.hook import install

    install()
