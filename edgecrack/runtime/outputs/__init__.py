"""Where results go: folders, pictures, videos, lines, findings."""
