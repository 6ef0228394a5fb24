"""A reward whose start takes a moment, and fails."""

import time

time.sleep(0.3)
raise ImportError("the large library is not here")
