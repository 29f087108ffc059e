"""The shared package of the course. Importing it loads nothing heavy; each module loads what it uses."""
