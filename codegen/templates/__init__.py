"""Loop shapes: how the elements of a kernel's results are visited. One file for each shape."""
