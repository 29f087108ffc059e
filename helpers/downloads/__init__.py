"""Everything that the full profile downloads: what it is, how it is brought here, and how a classroom shares it."""
