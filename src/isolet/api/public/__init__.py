"""The public addresses of functions: `/f/{project}/{function}` and all below it, and hosts of their own."""
