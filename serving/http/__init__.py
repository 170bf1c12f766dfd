"""The HTTP contract: routes, messages, guards; what answers them stands behind `door.Door`."""
