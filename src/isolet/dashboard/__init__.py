"""The platform's own pages. They are served on a listener of their own, where nothing of functions answers."""
