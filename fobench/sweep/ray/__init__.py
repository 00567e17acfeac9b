"""A sweep on a Ray cluster: a task a block, which Ray starts again when its worker or node dies."""
