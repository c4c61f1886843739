"""Who asks, and how often they may: credentials to principals, and the rates of projects."""
