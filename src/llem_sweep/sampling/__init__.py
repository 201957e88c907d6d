"""From periodic readings to energy."""
